using Microsoft.AspNetCore.Http.Connections.Features;
using Microsoft.AspNetCore.SignalR;

namespace TrioSignalR.Tests;

/// <summary>
/// The hub that all endpoints share: this file follows connections, the others hold its methods by what they are for.
/// Parameters are of simple types, or object, so that both hub protocols bind them.
/// </summary>
public partial class TestHub : Hub
{
    /// <summary>The ?probe=NAME of the URL that the connection was opened with.</summary>
    string? ConnectionProbe => Context.Items["probe"] as string;

    public override async Task OnConnectedAsync()
    {
        // Kept, since the request may be gone when the connection is seen to end.
        Context.Items["probe"] = Query("probe");
        Connections.Add(Context.ConnectionId, ConnectionProbe);
        Probes.Record(ConnectionProbe, "connected");
        await base.OnConnectedAsync();
    }

    public override async Task OnDisconnectedAsync(Exception? exception)
    {
        Connections.Remove(Context.ConnectionId);
        Probes.Record(ConnectionProbe, exception is null ? "disconnected" : $"disconnected: {exception.Message}");
        await base.OnDisconnectedAsync(exception);
    }

    public string ConnectionId() => Context.ConnectionId;

    /// <summary>A value of the hub URL's query.</summary>
    public string? Query(string key) => Context.GetHttpContext()?.Request.Query[key];

    /// <summary>A header of the request that opened the connection.</summary>
    public string? Header(string name) => Context.GetHttpContext()?.Request.Headers[name];

    /// <summary>The bearer token of that request.</summary>
    public string? Token() => Gates.BearerToken(Context.GetHttpContext()?.Request);

    /// <summary>Who the token stands for.</summary>
    public string? UserName() => Context.UserIdentifier;

    /// <summary>"WebSockets", "ServerSentEvents" or "LongPolling".</summary>
    public string? TransportName() => Context.Features.Get<IHttpTransportFeature>()?.TransportType.ToString();

    public void Abort() => Context.Abort();
}
