//! The protocol side of the server: what it says of itself, and calls on their way in and out.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use cotenant_core::{
    Code, Error, Result, data,
    event::{self, Head},
    store::Actor,
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
    },
    service::{RequestContext, ServerInitializeError, serve_server},
};

use super::{
    answer::{Output, Until, error_text},
    call::Call,
    heartbeat::Pulse,
    host::{Caller, Host},
    patience::{Awaited, Patience},
    tools,
    transport::{Lines, RawArguments},
};
use crate::async_store::Lane;

/// What an agent is told once, when it connects. Clients cut it at 2,048 characters.
pub const INSTRUCTIONS: &str = include_str!("instructions.txt");

/// How many calls wait for events at a time; more look again every [`PAUSE`].
const WATCHERS_MAX: usize = 4;
/// How long a call pauses that cannot wait for events.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves one agent until it closes its end of `input`.
pub fn serve(
    host: Arc<dyn Host>,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1 + WATCHERS_MAX)
        .build()
        .map_err(|error| Error::internal("the runtime cannot start").caused_by(error))?;
    let served = runtime.block_on(async {
        let awaited = Arc::<Awaited>::default();
        let transport = Lines::new(input, output, Arc::clone(&awaited))
            .map_err(|error| Error::internal("no thread can be started").caused_by(error))?;
        let server = Server {
            host,
            lane: Arc::new(Lane::of(1)),
            watchers: Lane::of(WATCHERS_MAX),
            pulse: Arc::default(),
            awaited,
        };
        run(server, transport).await
    });
    // A call that still runs has nobody left to answer to; its effect, if any, is whole.
    runtime.shutdown_background();
    served
}

async fn run(server: Server, transport: Lines) -> Result<()> {
    let (host, lane, pulse) =
        (Arc::clone(&server.host), Arc::clone(&server.lane), Arc::clone(&server.pulse));
    let serving = match serve_server(server, transport).await {
        Ok(serving) => serving,
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => {
            return Err(Error::invalid("the client did not open the protocol").caused_by(error));
        }
    };
    let heartbeat = tokio::spawn(pulse.run(host, lane));
    let ended = serving.waiting().await;
    heartbeat.abort();
    ended.map(drop).map_err(|error| Error::internal("the server stopped").caused_by(error))
}

struct Server {
    host: Arc<dyn Host>,
    /// Where calls are carried out, one after the other.
    lane: Arc<Lane>,
    /// Where calls wait that have nothing to do.
    watchers: Lane,
    pulse: Arc<Pulse>,
    awaited: Arc<Awaited>,
}

/// One call, to be tried until it has an answer.
#[derive(Clone)]
struct Job {
    tool: &'static tools::Entry,
    caller: Arc<Caller>,
    arguments: Arc<str>,
    patience: Patience,
    /// The tries before this one.
    before: Before,
}

/// What earlier tries of a call leave to the next.
#[derive(Clone)]
enum Before {
    /// There was none.
    None,
    /// There was one, as this session, if it needed one. A call that goes on waiting goes on as that session or not
    /// at all: when it is over, none is signed on in its place, which would take what nobody asked it to.
    As(Option<Actor>),
}

impl Server {
    /// Tries a call until it finds what it waits for, the wait is over or nobody waits any more.
    async fn carry_out(&self, mut job: Job) -> Result<Output> {
        let begun = Instant::now();
        // What happens from here on is not missed: the second try comes before the first wait.
        let mut cursor = None;
        loop {
            let (until, nothing) = match self.try_once(job.clone()).await? {
                (Output::NotYet { until, nothing }, actor) => {
                    job.before = Before::As(actor);
                    (until, nothing)
                }
                (found, _) => return Ok(found),
            };
            let left = until.wait.saturating_sub(begun.elapsed());
            cursor = match cursor {
                _ if left.is_zero() || job.patience.is_over() => {
                    return Ok(Output::Facts(nothing));
                }
                None => Some(self.head().await?),
                Some(behind) => tokio::select! {
                    news = self.news(behind, &until, left) => news,
                    () = job.patience.over() => return Ok(Output::Facts(nothing)),
                },
            };
        }
    }

    /// One try, and the session that it ran as.
    async fn try_once(&self, job: Job) -> Result<(Output, Option<Actor>)> {
        let (host, pulse) = (Arc::clone(&self.host), Arc::clone(&self.pulse));
        let work = move || {
            let (nobody_waits, earlier) = match job.before {
                Before::None => (job.patience.is_called_off(), None),
                Before::As(actor) => (job.patience.is_over(), actor),
            };
            if nobody_waits {
                return Err(Error::new(Code::Cancelled, "the call was called off"));
            }
            let call = Call::new(&*host, &job.caller, earlier);
            let outcome = job.tool.run(&call, &job.arguments);
            let actor = call.into_actor();
            if let Some(actor) = &actor {
                pulse.saw(actor);
            }
            Ok((outcome?, actor))
        };
        self.lane.run(work).await
    }

    /// The end of the log.
    async fn head(&self) -> Result<String> {
        let host = Arc::clone(&self.host);
        let work = move || Ok(host.store()?.call(&Head {}, |request| request)?.answer.cursor);
        self.lane.run(work).await
    }

    /// Waits for an event, no longer than the call may go without a look. Answers the cursor behind it;
    /// none if it is not known how far the log was read.
    async fn news(&self, cursor: String, until: &Until, left: Duration) -> Option<String> {
        let most = until.look_after.min(left);
        let read = event::Read {
            after: Some(cursor.clone()),
            last: None,
            kind: Some(until.event.to_owned()),
            scope: None,
            session: None,
            limit: data::PAGE_MAX,
            wait_ms: Some(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)),
        };
        if self.watchers.is_full() {
            tokio::time::sleep(PAUSE.min(left)).await;
            return Some(cursor);
        }
        let host = Arc::clone(&self.host);
        let work = move || Ok(host.store()?.call(&read, |request| request)?.answer.cursor);
        let Ok(cursor) = self.watchers.run(work).await else {
            // Such as a history that was pruned, or a store that was replaced: the next try tells.
            tokio::time::sleep(PAUSE.min(left)).await;
            return None;
        };
        Some(cursor)
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("cotenant", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> std::result::Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::list()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> std::result::Result<CallToolResponse, ErrorData> {
        let tool = tools::find(&request.name).ok_or_else(|| {
            let name = cotenant_core::name::shown(&request.name);
            ErrorData::invalid_params(format!("there is no tool `{name}`"), None)
        })?;
        let caller = caller(&context);
        let arguments = match context.extensions.get::<RawArguments>() {
            Some(raw) => raw.0.to_string(),
            None => serde_json::to_string(&request.arguments.unwrap_or_default())
                .map_err(|error| ErrorData::invalid_params(error.to_string(), None))?,
        };
        // Entered by the transport, unless the call came another way.
        let patience = match context.extensions.get::<Patience>() {
            Some(patience) => patience.clone(),
            None => self.awaited.enter(context.id.clone()),
        };
        let caller = Arc::new(caller);
        let arguments = arguments.into();
        let job = Job { tool, caller, arguments, patience, before: Before::None };
        let outcome = self.carry_out(job).await;
        Ok(CallToolResponse::Complete(match outcome {
            Ok(Output::Facts(facts) | Output::NotYet { nothing: facts, .. }) => {
                CallToolResult::structured(facts)
            }
            Ok(Output::Exact(json)) => CallToolResult::success(vec![ContentBlock::text(json)]),
            Err(error) => CallToolResult::error(vec![ContentBlock::text(error_text(&error))]),
        }))
    }
}

/// What a call says of its origin. Codex names the conversation in every call; Claude Code gives
/// the id under which its hooks see the call.
fn caller(context: &RequestContext<RoleServer>) -> Caller {
    let word =
        |name: &str| context.meta.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    Caller {
        client: context.client_info().map(|client| client.name),
        tool_use_id: word("claudecode/toolUseId"),
        native_id: word("sessionId").or_else(|| word("threadId")),
    }
}
