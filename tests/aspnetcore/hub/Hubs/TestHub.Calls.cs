using Microsoft.AspNetCore.SignalR;

namespace TrioSignalR.Tests;

public partial class TestHub
{
    public int Add(int a, int b) => a + b;

    public object? Echo(object? value) => value;

    public void Void() { }

    /// <summary>A text of the given length.</summary>
    public string Big(int length) => new('x', length);

    /// <summary>Leaves "notified: text" in the connection's own probe.</summary>
    public void Notify(string text) => Probes.Record(ConnectionProbe, $"notified: {text}");

    /// <summary>Leaves an event in any probe: a mark that the messages before it were handled.</summary>
    public void Record(string probe, string text) => Probes.Record(probe, text);

    /// <summary>Record after so many milliseconds, whatever becomes of the caller meanwhile.</summary>
    public async Task RecordLater(string probe, string text, int milliseconds)
    {
        await Task.Delay(milliseconds);
        Probes.Record(probe, text);
    }

    public async Task<string> Slow(int milliseconds)
    {
        await Task.Delay(milliseconds);
        return "slow";
    }

    /// <summary>"started", then "finished", or "cancelled" if the connection went first.</summary>
    public async Task<string> SlowWithProbe(string probe, int milliseconds)
    {
        Probes.Record(probe, "started");
        try
        {
            await Task.Delay(milliseconds, Context.ConnectionAborted);
            Probes.Record(probe, "finished");
        }
        catch (OperationCanceledException)
        {
            Probes.Record(probe, "cancelled");
        }
        return "slow";
    }

    /// <summary>As SlowWithProbe, but it is the test that ends it, by the event "go".</summary>
    public async Task<string> Held(string probe)
    {
        Probes.Record(probe, "started");
        try
        {
            await Probes.Get(probe).WaitAsync("go", cancel: Context.ConnectionAborted);
            Probes.Record(probe, "finished");
        }
        catch (OperationCanceledException)
        {
            Probes.Record(probe, "cancelled");
        }
        return "held";
    }

    public void Fail() => throw new InvalidOperationException("secret");

    public void FailPublic() => throw new HubException("public message");
}
