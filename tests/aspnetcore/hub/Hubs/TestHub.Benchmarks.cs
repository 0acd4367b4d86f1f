using System.Threading.Channels;
using MessagePack;

namespace TrioSignalR.Tests;

/// <summary>What the benchmarks send to and fro: five fields, of the same names in both hub protocols.</summary>
[MessagePackObject]
public class Reading
{
    [Key("id")]
    public int Id { get; set; }

    [Key("name")]
    public string Name { get; set; } = "";

    [Key("value")]
    public double Value { get; set; }

    [Key("flag")]
    public bool Flag { get; set; }

    [Key("stamp")]
    public DateTime Stamp { get; set; }
}

public partial class TestHub
{
    /// <summary>0, 1, 2, ... as fast as they go.</summary>
    public IAsyncEnumerable<int> Numbers(int count) => Enumerable.Range(0, count).ToAsyncEnumerable();

    public IAsyncEnumerable<Reading> Readings(int count)
    {
        var start = new DateTime(2024, 1, 2, 3, 4, 5, DateTimeKind.Utc);
        return Enumerable.Range(0, count)
            .Select(i => new Reading
            {
                Id = i, Name = $"item {i}", Value = i / 4.0, Flag = i % 2 == 0, Stamp = start.AddSeconds(i),
            })
            .ToAsyncEnumerable();
    }

    /// <summary>How many there were.</summary>
    public async Task<int> UploadReadings(ChannelReader<Reading> readings) => await readings.ReadAllAsync().CountAsync();

    /// <summary>Never says a word, until it is cancelled.</summary>
    public ChannelReader<int> Silence(CancellationToken cancel)
    {
        var channel = Channel.CreateBounded<int>(1);
        cancel.Register(() => channel.Writer.TryComplete());
        return channel.Reader;
    }

    public byte[] Bytes(int length) => new byte[length];

    public int Length(byte[] payload) => payload.Length;
}

/// <summary>Takes messages of any size; Program.cs says so.</summary>
public class BenchmarkHub : TestHub;
