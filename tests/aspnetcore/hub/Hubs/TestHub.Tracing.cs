using System.Diagnostics;
using System.Threading.Channels;

namespace TrioSignalR.Tests;

public partial class TestHub
{
    /// <summary>The span that this call runs in: trace id, id, parent's id, trace state, baggage "user", and name.</summary>
    public string?[] Span() => Describe(Activity.Current);

    public async IAsyncEnumerable<string?[]> SpanOfStream()
    {
        yield return Describe(Activity.Current);
        await Task.Yield();
    }

    public async Task<string?[]> SpanOfUpload(ChannelReader<int> items)
    {
        await items.ReadAllAsync().CountAsync();
        return Describe(Activity.Current);
    }

    /// <summary>For a call that gets no answer: trace id and parent's id go into the probe.</summary>
    public void RecordSpan(string probe) =>
        Probes.Record(probe, $"span: {Activity.Current?.TraceId} {Activity.Current?.ParentSpanId}");

    static string?[] Describe(Activity? span) =>
    [
        $"{span?.TraceId}", $"{span?.SpanId}", $"{span?.ParentSpanId}", span?.TraceStateString,
        span?.GetBaggageItem("user"), span?.DisplayName,
    ];
}

/// <summary>Somebody has to listen, or SignalR makes no spans.</summary>
public static class Tracing
{
    /// <summary>Have spans made for calls that bring a trace context, and for no others.</summary>
    public static void Listen() => ActivitySource.AddActivityListener(new ActivityListener
    {
        ShouldListenTo = source => source.Name == "Microsoft.AspNetCore.SignalR.Server",
        Sample = (ref ActivityCreationOptions<ActivityContext> options) =>
            options.Parent.IsRemote ? ActivitySamplingResult.AllData : ActivitySamplingResult.None,
    });
}
