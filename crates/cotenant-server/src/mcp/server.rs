//! The protocol side of the server: what it says of itself, and calls on their way in and out.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use cotenant_core::{Error, Result};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
    },
    service::{RequestContext, ServerInitializeError, serve_server},
};

use super::{
    answer::{Output, error_text},
    call::Call,
    heartbeat::Pulse,
    host::{Caller, Host},
    tools,
    transport::{Lines, RawArguments},
};
use crate::async_store::Lane;

/// What an agent is told once, when it connects. Clients cut it at 2,048 characters.
pub const INSTRUCTIONS: &str = include_str!("instructions.txt");

/// Serves one agent until it closes its end of `input`.
pub fn serve(
    host: Arc<dyn Host>,
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .map_err(|error| Error::internal("the runtime cannot start").caused_by(error))?;
    let served = runtime.block_on(async {
        let transport = Lines::new(input, output)
            .map_err(|error| Error::internal("no thread can be started").caused_by(error))?;
        let server = Server { host, lane: Arc::default(), pulse: Arc::default() };
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
    lane: Arc<Lane>,
    pulse: Arc<Pulse>,
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
        let (host, pulse) = (Arc::clone(&self.host), Arc::clone(&self.pulse));
        let outcome = self
            .lane
            .run(move || {
                let call = Call::new(&*host, &caller);
                let outcome = tool.run(&call, &arguments);
                if let Some(actor) = call.into_actor() {
                    pulse.saw(actor);
                }
                outcome
            })
            .await;
        Ok(CallToolResponse::Complete(match outcome {
            Ok(Output::Facts(facts)) => CallToolResult::structured(facts),
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
