using System.Collections.Concurrent;

namespace TrioSignalR.Tests;

/// <summary>Event logs by a name that the test made up, so that tests do not see each other's events.</summary>
static class Probes
{
    static readonly ConcurrentDictionary<string, Probe> All = new();

    public static Probe Get(string name) => All.GetOrAdd(name, _ => new Probe());

    public static void Record(string? name, string text)
    {
        if (name is not null) Get(name).Record(text);
    }
}

/// <summary>What happened, as texts in order: "started", "finished: 10", ...; it can be waited for.</summary>
sealed class Probe
{
    readonly Lock gate = new();
    readonly List<string> events = [];
    TaskCompletionSource changed = NewSignal();

    public string[] Events
    {
        get { lock (gate) return [.. events]; }
    }

    public void Record(string text)
    {
        TaskCompletionSource signal;
        lock (gate)
        {
            events.Add(text);
            signal = changed;
            changed = NewSignal();
        }
        signal.SetResult();
    }

    /// <summary>Waits for the n-th event called <paramref name="name"/>: that text alone, or with ": details".</summary>
    public async Task WaitAsync(string name, int count = 1, CancellationToken cancel = default)
    {
        while (true)
        {
            Task next;
            lock (gate)
            {
                if (events.Count(text => text == name || text.StartsWith(name + ": ")) >= count) return;
                next = changed.Task;
            }
            await next.WaitAsync(cancel);
        }
    }

    // Waiters continue elsewhere: whoever records must not run a stranger's code.
    static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>
/// Follows one streaming method: "started", "cancelled" when its token fires, "finished: n" when it has ended for
/// whatever reason, n being the items that it produced.
/// </summary>
sealed class Watch : IDisposable
{
    readonly Probe probe;
    readonly CancellationToken cancel;
    int cancelled;

    public Watch(string name, CancellationToken cancel)
    {
        probe = Probes.Get(name);
        probe.Record("started");
        this.cancel = cancel;
        cancel.Register(RecordCancelled);
    }

    public int Items { get; set; }

    public void Dispose()
    {
        // The method may be woken by its token before our own callback ran: "cancelled" still comes first.
        if (cancel.IsCancellationRequested) RecordCancelled();
        probe.Record($"finished: {Items}");
    }

    void RecordCancelled()
    {
        if (Interlocked.Exchange(ref cancelled, 1) == 0) probe.Record("cancelled");
    }
}
