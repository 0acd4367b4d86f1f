using System.Text.Json;
using MessagePack;
using Microsoft.AspNetCore.SignalR;

namespace TrioSignalR.Tests;

/// <summary>
/// One type, in every place that a value can have: argument, result, item of either stream, handler's argument and
/// result.
/// </summary>
public class TypeHub<T> : Hub
{
    public T Echo(T value) => value;

    /// <summary>What the server understood, as JSON in .NET's own terms, whatever the hub protocol.</summary>
    public string Understood(T value) => JsonSerializer.Serialize(value);

    public IAsyncEnumerable<T> Transform(IAsyncEnumerable<T> items) => items;

    /// <summary>Calls the caller's handler with the value, and returns its answer.</summary>
    public Task<T> Ask(string target, T value) => Clients.Caller.InvokeAsync<T>(target, value, default);

    /// <summary>Calls the caller's handler with the value, and does not wait.</summary>
    public Task Tell(string target, T value) => Clients.Caller.SendAsync(target, value);
}

/// <summary>Values that a client cannot send, or not to the tick.</summary>
public class ExtremesHub : Hub
{
    public DateTime DateTimeMax() => DateTime.MaxValue;

    public DateTime DateTimeMin() => DateTime.MinValue;

    public DateTimeOffset DateTimeOffsetMax() => DateTimeOffset.MaxValue;

    public TimeOnly TimeOnlyMax() => TimeOnly.MaxValue;

    public TimeSpan TimeSpanMax() => TimeSpan.MaxValue;

    public TimeSpan TimeSpanMin() => TimeSpan.MinValue;

    public TimeSpan Tick() => TimeSpan.FromTicks(-17);

    public decimal DecimalMax() => decimal.MaxValue;

    public Colour Undefined() => (Colour)7;

    public object Mixed() => new { Start = DateTime.MaxValue, Id = 1L };
}

public enum Colour
{
    Red = 1,
    Green = 2,
}

[Flags]
public enum Rights
{
    None = 0,
    Read = 1,
    Write = 2,
}

public class Person
{
    public Guid Id { get; set; }
    public string FirstName { get; set; } = "";
    public Colour Favourite { get; set; }
    public DateOnly Born { get; set; }
    public TimeSpan Took { get; set; }
    public DateTimeOffset Seen { get; set; }
    public decimal Price { get; set; }
    public List<string> Tags { get; set; } = [];
    public Dictionary<string, TimeSpan> Laps { get; set; } = [];
    public Person? Friend { get; set; }
}

/// <summary>An array in MessagePack.</summary>
[MessagePackObject]
public class Measurement
{
    [Key(0)] public int Sensor { get; set; }
    [Key(1)] public Colour State { get; set; }
    [Key(2)] public TimeSpan Age { get; set; }
}

static class Types
{
    /// <summary>A hub for each type, at /types/name.</summary>
    public static void MapTypes(this WebApplication app)
    {
        Map<bool>("bool");
        Map<byte>("byte");
        Map<int>("int");
        Map<long>("long");
        Map<ulong>("ulong");
        Map<float>("float");
        Map<double>("double");
        Map<decimal>("decimal");
        Map<char>("char");
        Map<string>("string");
        Map<byte[]>("bytes");
        Map<Guid>("guid");
        Map<DateTime>("datetime");
        Map<DateTimeOffset>("datetimeoffset");
        Map<DateOnly>("dateonly");
        Map<TimeOnly>("timeonly");
        Map<TimeSpan>("timespan");
        Map<Colour>("enum");
        Map<Rights>("flags");
        Map<int?>("nullable");
        Map<Colour?>("nullable-enum");
        Map<int[]>("array");
        Map<HashSet<string>>("set");
        Map<List<Dictionary<string, TimeSpan>>>("nested");
        Map<Dictionary<string, int>>("dictionary");
        Map<Dictionary<int, string>>("int-keys");
        Map<Dictionary<long, TimeSpan>>("long-keys");
        Map<Dictionary<Guid, int>>("guid-keys");
        Map<Dictionary<Colour, int>>("enum-keys");
        Map<Dictionary<TimeSpan, int>>("timespan-keys");
        Map<Dictionary<bool, int>>("bool-keys");
        Map<Person>("object");
        Map<List<Person>>("objects");
        Map<Measurement>("keyed-object");
        Map<object>("any");
        app.MapHub<ExtremesHub>("/types/extremes");

        void Map<T>(string name) => app.MapHub<TypeHub<T>>($"/types/{name}");
    }
}
