// The server of the tests in tests/aspnetcore: the real ASP.NET Core, one hub, several endpoints, and a plain HTTP API
// by which a test sees what happened inside and decides when it goes on.
//
//   dotnet TestHub.dll --urls http://127.0.0.1:0 [--stop-with-stdin true]

using Microsoft.AspNetCore.Http.Connections;
using TrioSignalR.Tests;

var builder = WebApplication.CreateBuilder(args);

builder.Logging.SetMinimumLevel(LogLevel.Warning);
builder.Logging.AddFilter("Microsoft.Hosting.Lifetime", LogLevel.Information); // "Now listening on: ..."
builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = TimeSpan.FromSeconds(5));

builder.Services.AddSignalR()
    .AddMessagePackProtocol()
    .AddHubOptions<DetailedHub>(options => options.EnableDetailedErrors = true)
    .AddHubOptions<ParallelHub>(options => options.MaximumParallelInvocationsPerClient = 8)
    .AddHubOptions<SmallBufferHub>(options => options.StatefulReconnectBufferSize = 1000)
    .AddHubOptions<ImpatientHub>(options =>
    {
        options.KeepAliveInterval = TimeSpan.FromSeconds(1);
        options.ClientTimeoutInterval = TimeSpan.FromSeconds(2);
        options.HandshakeTimeout = TimeSpan.FromSeconds(1);
        options.EnableDetailedErrors = true;
    })
    .AddHubOptions<BenchmarkHub>(options => options.MaximumReceiveMessageSize = null);

Tracing.Listen();

var app = builder.Build();

app.UseRequestTrace();
app.UseTestTokens("/authorized");
app.UseAffinityCookie("/cookie");

app.MapHub<TestHub>("/hub", options => options.AllowStatefulReconnects = true);
app.MapHub<SmallBufferHub>("/small-buffer", options => options.AllowStatefulReconnects = true);
app.MapHub<DetailedHub>("/detailed");
app.MapHub<ParallelHub>("/parallel");
app.MapHub<ImpatientHub>("/impatient", options => options.LongPolling.PollTimeout = TimeSpan.FromSeconds(1));
app.MapHub<FailingHub>("/abort-on-connect");
app.MapHub<EarlyHub>("/early");
app.MapHub<BenchmarkHub>("/benchmarks");
app.MapHub<TestHub>("/websockets", options => options.Transports = HttpTransportType.WebSockets);
app.MapHub<TestHub>("/sse", options => options.Transports = HttpTransportType.ServerSentEvents);
app.MapHub<TestHub>("/longpolling", options => options.Transports = HttpTransportType.LongPolling);
app.MapHub<TestHub>("/authorized");
app.MapHub<TestHub>("/cookie");

app.MapPost("/redirect/negotiate", (HttpRequest request) => Results.Json(new
{
    url = $"{request.Scheme}://{request.Host}/hub",
    accessToken = "redirected",
}));

app.MapTypes();
app.MapControl();

if (app.Configuration.GetValue<bool>("stop-with-stdin"))
{
    // Whoever holds the other end of our standard input is the reason to run: no server outlives its test run.
    _ = Task.Run(() =>
    {
        Console.In.ReadToEnd();
        app.Lifetime.StopApplication();
    });
}

app.Run();
