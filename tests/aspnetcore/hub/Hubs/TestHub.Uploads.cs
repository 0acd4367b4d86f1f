using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Microsoft.AspNetCore.SignalR;

namespace TrioSignalR.Tests;

public partial class TestHub
{
    /// <summary>The words, joined by spaces.</summary>
    public async Task<string> UploadStream(IAsyncEnumerable<string> words) =>
        string.Join(" ", await words.ToListAsync());

    /// <summary>The sum.</summary>
    public async Task<long> UploadChannel(ChannelReader<int> items)
    {
        var sum = 0L;
        await foreach (var item in items.ReadAllAsync()) sum += item;
        return sum;
    }

    /// <summary>
    /// UploadChannel that leaves "started", "item: n" for each, then "reader ended" or "reader failed: message".
    /// </summary>
    public async Task<long> UploadWatched(string probe, ChannelReader<int> items)
    {
        Probes.Record(probe, "started");
        var sum = 0L;
        try
        {
            await foreach (var item in items.ReadAllAsync())
            {
                Probes.Record(probe, $"item: {item}");
                sum += item;
            }
        }
        catch (Exception error)
        {
            Probes.Record(probe, $"reader failed: {error.Message}");
            throw;
        }
        Probes.Record(probe, "reader ended");
        return sum;
    }

    /// <summary>UploadWatched that reads nothing until the test says "go".</summary>
    public async Task<long> UploadHeld(string probe, ChannelReader<int> items)
    {
        Probes.Record(probe, "held");
        await Probes.Get(probe).WaitAsync("go", cancel: Context.ConnectionAborted);
        return await UploadWatched(probe, items);
    }

    /// <summary>"label: the sum of the numbers, the words joined by spaces".</summary>
    public async Task<string> UploadTwo(string label, IAsyncEnumerable<int> numbers, ChannelReader<string> words)
    {
        // Side by side: a stream that nobody reads stops the connection after ten items.
        var sum = numbers.SumAsync().AsTask();
        var text = UploadStream(words.ReadAllAsync());
        return $"{label}: {await sum}, {await text}";
    }

    /// <summary>The first items; the stream is not read to its end.</summary>
    public async Task<int[]> UploadFirst(IAsyncEnumerable<int> items, int count) =>
        await items.Take(count).ToArrayAsync();

    /// <summary>Fails after so many items.</summary>
    public async Task UploadThenFail(IAsyncEnumerable<int> items, int count)
    {
        await items.Take(count).CountAsync();
        throw new HubException("enough");
    }

    /// <summary>Takes one item, then so many milliseconds of rest; returns how many there were.</summary>
    public async Task<int> UploadSlow(IAsyncEnumerable<int> items, int delay)
    {
        var count = 0;
        await foreach (var _ in items)
        {
            count++;
            await Task.Delay(delay);
        }
        return count;
    }

    /// <summary>Each item doubled, as it comes.</summary>
    public async IAsyncEnumerable<int> Transform(
        IAsyncEnumerable<int> items, [EnumeratorCancellation] CancellationToken cancel)
    {
        await foreach (var item in items.WithCancellation(cancel)) yield return 2 * item;
    }

    /// <summary>Transform with the events of WatchedCounter.</summary>
    public async IAsyncEnumerable<int> WatchedTransform(
        string probe, IAsyncEnumerable<int> items, [EnumeratorCancellation] CancellationToken cancel)
    {
        using var watch = new Watch(probe, cancel);
        await foreach (var item in items.WithCancellation(cancel))
        {
            watch.Items++;
            yield return 2 * item;
        }
    }
}
