using System.Collections.Concurrent;

namespace TrioSignalR.Tests;

/// <summary>The HTTP API for tests; it works whatever state the hub connections are in.</summary>
static class Control
{
    public static void MapControl(this WebApplication app)
    {
        // The events so far; with ?wait=NAME[&count=N][&timeout=SECONDS], once that event was recorded (or 408).
        app.MapGet("/probe/{name}", async (
            string name, string? wait, int? count, double? timeout, CancellationToken aborted) =>
        {
            var probe = Probes.Get(name);
            if (wait is not null && !await WaitAsync(probe, wait, count ?? 1, timeout ?? 10, aborted))
                return Results.Text($"no event '{wait}' in time; events: [{string.Join(", ", probe.Events)}]",
                    statusCode: 408);
            return Results.Json(probe.Events);
        });

        // Adds an event, such as the "go" that the Held... methods of the hub wait for.
        app.MapPost("/probe/{name}", (string name, string @event) => Probes.Record(name, @event));

        // How many hub connections are alive: all, or those that were opened with ?probe=NAME.
        app.MapGet("/connections", (string? probe) => Connections.Count(probe));

        // From now on the token is refused.
        app.MapPost("/revoke", (string token) => Gates.Revoke(token));
    }

    static async Task<bool> WaitAsync(Probe probe, string name, int count, double seconds, CancellationToken aborted)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(aborted);
        timeout.CancelAfter(TimeSpan.FromSeconds(seconds));
        try
        {
            await probe.WaitAsync(name, count, timeout.Token);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }
}

/// <summary>The hub connections that are alive, with the probe that each was opened with, if any.</summary>
static class Connections
{
    static readonly ConcurrentDictionary<string, string?> Alive = new();

    public static void Add(string id, string? probe) => Alive[id] = probe;

    public static void Remove(string id) => Alive.TryRemove(id, out _);

    public static int Count(string? probe) => Alive.Values.Count(value => probe is null || value == probe);
}
