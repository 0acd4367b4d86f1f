// What the documentation shows in C#: compiled with the hub, so that it is right, and never called.

using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.SignalR;

namespace TrioSignalR.Tests;

internal class Shown : Hub
{
    internal static void Configure(WebApplicationBuilder builder)
    {
        // part: options
        builder.Services.AddSignalR(options =>
        {
            options.MaximumReceiveMessageSize = 1024 * 1024;     // bytes; 32 KB by default
            options.MaximumParallelInvocationsPerClient = 4;     // plain calls of one client at once; 1 by default
            options.StreamBufferCapacity = 100;                  // items of an upload; 10 by default
            options.EnableDetailedErrors = true;                 // for development: the client sees what went wrong
        });
        // end of part
    }

    // part: streaming
    public async IAsyncEnumerable<int> Counter(
        int count, int delay, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        for (var i = 0; i < count; i++)
        {
            yield return i;
            await Task.Delay(delay, cancellationToken);  // ends when the client leaves its block
        }
    }

    public async Task<string> UploadStream(IAsyncEnumerable<string> words)
    {
        return string.Join(' ', await words.ToListAsync());
    }
    // end of part
}
