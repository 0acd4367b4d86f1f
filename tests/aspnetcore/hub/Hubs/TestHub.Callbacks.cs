using Microsoft.AspNetCore.SignalR;

namespace TrioSignalR.Tests;

public partial class TestHub
{
    /// <summary>Invokes a handler of the caller, which is not awaited.</summary>
    public Task CallMe(string target, object? argument) => Clients.Caller.SendAsync(target, argument);

    /// <summary>The same with 0, 1, 2, ... as the argument.</summary>
    public async Task CallMeMany(string target, int count)
    {
        for (var i = 0; i < count; i++) await Clients.Caller.SendAsync(target, i);
    }

    /// <summary>Invokes a handler of another connection.</summary>
    public Task SendTo(string connectionId, string target, object? argument) =>
        Clients.Client(connectionId).SendAsync(target, argument);

    public Task JoinGroup(string group) => Groups.AddToGroupAsync(Context.ConnectionId, group);

    public Task LeaveGroup(string group) => Groups.RemoveFromGroupAsync(Context.ConnectionId, group);

    public Task SendToGroup(string group, string target, object? argument) =>
        Clients.Group(group).SendAsync(target, argument);

    /// <summary>Awaits a text from a handler of the caller; "error: text" if the caller answers an error.</summary>
    public Task<string> AskMe(string target, object? argument) => Ask<string>(target, argument);

    /// <summary>The same for a number, as text.</summary>
    public Task<string> AskMeForNumber(string target, object? argument) => Ask<int>(target, argument);

    /// <summary>AskMe with 0, 1, 2, ... as the argument, all at once; the answers in that order.</summary>
    public Task<string[]> AskMany(string target, int count) =>
        Task.WhenAll(Enumerable.Range(0, count).Select(i => Ask<string>(target, i)));

    /// <summary>AskMe that stops waiting after so many milliseconds.</summary>
    public async Task<string> AskImpatiently(string target, object? argument, int milliseconds)
    {
        using var timeout = new CancellationTokenSource(milliseconds);
        return await Ask<string>(target, argument, timeout.Token);
    }

    async Task<string> Ask<T>(string target, object? argument, CancellationToken cancel = default)
    {
        try
        {
            return $"{await Clients.Caller.InvokeAsync<T>(target, argument, cancel)}";
        }
        catch (HubException error)
        {
            return $"error: {error.Message}";
        }
    }
}
