using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Microsoft.AspNetCore.SignalR;

namespace TrioSignalR.Tests;

public record Item(int Id, string Name, double Value, bool Flag, DateTime Stamp);

public partial class TestHub
{
    /// <summary>0, 1, 2, ... with so many milliseconds after each, by way of a ChannelReader.</summary>
    public ChannelReader<int> Counter(int count, int delay, CancellationToken cancel) =>
        ToChannel(CounterAsync(count, delay, cancel), cancel);

    /// <summary>The same as an IAsyncEnumerable.</summary>
    public async IAsyncEnumerable<int> CounterAsync(
        int count, int delay, [EnumeratorCancellation] CancellationToken cancel)
    {
        for (var i = 0; i < count; i++)
        {
            cancel.ThrowIfCancellationRequested();
            yield return i;
            if (delay > 0) await Task.Delay(delay, cancel);
        }
    }

    /// <summary>CounterAsync that leaves "started", "cancelled" when its token fires, "finished: n" at its end.</summary>
    public async IAsyncEnumerable<int> WatchedCounter(
        string probe, int count, int delay, [EnumeratorCancellation] CancellationToken cancel)
    {
        using var watch = new Watch(probe, cancel);
        await foreach (var i in CounterAsync(count, delay, cancel))
        {
            watch.Items++;
            yield return i;
        }
    }

    /// <summary>The same by way of a ChannelReader.</summary>
    public ChannelReader<int> WatchedCounterChannel(string probe, int count, int delay, CancellationToken cancel) =>
        ToChannel(WatchedCounter(probe, count, delay, cancel), cancel);

    /// <summary>So many items, then nothing until the probe has the event "go"; events as WatchedCounter.</summary>
    public async IAsyncEnumerable<int> HeldCounter(
        string probe, int count, [EnumeratorCancellation] CancellationToken cancel)
    {
        using var watch = new Watch(probe, cancel);
        for (var i = 0; i < count; i++)
        {
            watch.Items++;
            yield return i;
        }
        await Probes.Get(probe).WaitAsync("go", cancel: cancel);
    }

    /// <summary>Has no token: after a CancelInvocation it goes on until the test says "go".</summary>
    public async IAsyncEnumerable<int> StubbornCounter(string probe, int count)
    {
        using var watch = new Watch(probe, default);
        for (var i = 0; i < count; i++)
        {
            watch.Items++;
            yield return i;
        }
        await Probes.Get(probe).WaitAsync("go");
    }

    /// <summary>Yields its thread after each item, so that the transport sends items one by one.</summary>
    public async IAsyncEnumerable<int> FlushedCounter(int count, [EnumeratorCancellation] CancellationToken cancel)
    {
        for (var i = 0; i < count; i++)
        {
            cancel.ThrowIfCancellationRequested();
            yield return i;
            await Task.Yield();
        }
    }

    public IAsyncEnumerable<Item> Objects(int count)
    {
        var start = new DateTime(2024, 1, 2, 3, 4, 5, DateTimeKind.Utc);
        return Enumerable.Range(0, count)
            .Select(i => new Item(i, $"item {i}", i / 4.0, i % 2 == 0, start.AddSeconds(i)))
            .ToAsyncEnumerable();
    }

    /// <summary>Texts of the given length.</summary>
    public IAsyncEnumerable<string> BigStream(int count, int length) =>
        Enumerable.Repeat(new string('x', length), count).ToAsyncEnumerable();

    public IAsyncEnumerable<string?> Nulls(int count) => Enumerable.Repeat<string?>(null, count).ToAsyncEnumerable();

    public IAsyncEnumerable<int> FailingStream(int count) =>
        ThenFail(count, new InvalidOperationException("Ran out"));

    public IAsyncEnumerable<int> FailingStreamPublic(int count) => ThenFail(count, new HubException("public message"));

    /// <summary>A stream in name only: the server answers that it is none.</summary>
    public ChannelReader<int>? NullStream() => null;

    /// <summary>"Job 0 executed successfully" and so on, one a second.</summary>
    public async IAsyncEnumerable<string> TriggerStream(
        int jobsCount, [EnumeratorCancellation] CancellationToken cancel)
    {
        for (var i = 0; i < jobsCount; i++)
        {
            if (i > 0) await Task.Delay(1000, cancel);
            yield return $"Job {i} executed successfully";
        }
    }

    static async IAsyncEnumerable<int> ThenFail(int count, Exception error)
    {
        for (var i = 0; i < count; i++) yield return i;
        await Task.Yield();
        throw error;
    }

    static ChannelReader<T> ToChannel<T>(IAsyncEnumerable<T> items, CancellationToken cancel)
    {
        var channel = Channel.CreateBounded<T>(128);
        _ = Fill();
        return channel.Reader;

        async Task Fill()
        {
            Exception? failure = null;
            try
            {
                await foreach (var item in items) await channel.Writer.WriteAsync(item, cancel);
            }
            catch (Exception error)
            {
                failure = error;
            }
            channel.Writer.Complete(failure);
        }
    }
}
