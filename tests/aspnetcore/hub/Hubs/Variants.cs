using Microsoft.AspNetCore.SignalR;

namespace TrioSignalR.Tests;

// Hub options belong to a hub's type, so each set of options has its own; Program.cs says what they are.

public class DetailedHub : TestHub;

public class ParallelHub : TestHub;

public class SmallBufferHub : TestHub;

public class ImpatientHub : TestHub;

/// <summary>Refuses every connection after the handshake.</summary>
public class FailingHub : TestHub
{
    public override Task OnConnectedAsync() => throw new InvalidOperationException("not today");
}

/// <summary>Speaks first: its message tends to share a packet with the answer to the handshake.</summary>
public class EarlyHub : TestHub
{
    public override async Task OnConnectedAsync()
    {
        await Clients.Caller.SendAsync("Early", "early");
        await base.OnConnectedAsync();
    }
}
