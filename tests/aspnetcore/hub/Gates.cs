using System.Collections.Concurrent;
using System.Security.Claims;
using System.Text.RegularExpressions;

namespace TrioSignalR.Tests;

/// <summary>What stands between the network and some of the endpoints.</summary>
static partial class Gates
{
    static readonly ConcurrentDictionary<string, int> Uses = new();
    static readonly ConcurrentDictionary<string, bool> Revoked = new();
    static readonly ConcurrentDictionary<string, bool> Cookies = new();

    public static void Revoke(string token) => Revoked[token] = true;

    public static string? BearerToken(HttpRequest? request)
    {
        var header = request?.Headers.Authorization.ToString();
        return header is not null && header.StartsWith("Bearer ") ? header["Bearer ".Length..] : null;
    }

    /// <summary>A request with ?trace=NAME leaves the event "METHOD /path STATUS" when its answer begins.</summary>
    public static void UseRequestTrace(this WebApplication app) => app.Use((context, next) =>
    {
        if ((string?)context.Request.Query["trace"] is { } trace)
        {
            var (method, path) = (context.Request.Method, context.Request.Path);
            context.Response.OnStarting(() =>
            {
                Probes.Record(trace, $"{method} {path} {context.Response.StatusCode}");
                return Task.CompletedTask;
            });
        }
        return next(context);
    });

    /// <summary>
    /// Lets in whoever has a bearer token that starts with "good": for ever or until it is revoked, and
    /// "good-for-3-requests..." for its first three requests. All others are answered 401, without a body.
    /// </summary>
    public static void UseTestTokens(this WebApplication app, PathString path) => app.UseAt(path, (context, next) =>
    {
        if (BearerToken(context.Request) is not { } token || !IsGood(token))
        {
            context.Response.StatusCode = StatusCodes.Status401Unauthorized;
            return Task.CompletedTask;
        }
        // One name for all tokens: it is the same user who comes back with a fresh one.
        context.User = new ClaimsPrincipal(new ClaimsIdentity([new Claim(ClaimTypes.NameIdentifier, "tester")], "test"));
        return next(context);
    });

    /// <summary>
    /// Plays a load balancer with sticky sessions: negotiate sets the cookie "affinity", and every other request
    /// without it is answered 400.
    /// </summary>
    public static void UseAffinityCookie(this WebApplication app, PathString path) => app.UseAt(path, (context, next) =>
    {
        if (context.Request.Path == path + "/negotiate")
        {
            var value = Guid.NewGuid().ToString();
            Cookies[value] = true;
            context.Response.Cookies.Append("affinity", value);
            return next(context);
        }
        if (context.Request.Cookies["affinity"] is { } cookie && Cookies.ContainsKey(cookie)) return next(context);
        context.Response.StatusCode = StatusCodes.Status400BadRequest;
        return context.Response.WriteAsync("The cookie 'affinity' that negotiate had set is missing.");
    });

    static void UseAt(this WebApplication app, PathString path, Func<HttpContext, RequestDelegate, Task> gate) =>
        app.UseWhen(
            context => context.Request.Path.StartsWithSegments(path),
            branch => branch.Use(next => context => gate(context, next)));

    static bool IsGood(string token)
    {
        if (!token.StartsWith("good") || Revoked.ContainsKey(token)) return false;
        var limit = LimitedToken().Match(token);
        return !limit.Success || Uses.AddOrUpdate(token, 1, (_, n) => n + 1) <= int.Parse(limit.Groups[1].Value);
    }

    [GeneratedRegex("^good-for-([0-9]+)-requests")]
    private static partial Regex LimitedToken();
}
