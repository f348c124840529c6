//! A connection whose calls wait for the server.
//!
//! The `postgres` crate waits for one statement before it sends the next. Here several may be on their way
//! (the protocol's pipelining): a transaction of a batch is five round trips instead of thirteen.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use cotenant_core::Code;
use futures_util::future::{join, try_join, try_join_all};
use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
};
use tokio_postgres::{
    AsyncMessage, Config, Connection, Error, Notification, Row, SimpleQueryMessage, Socket,
    error::DbError,
    tls::MakeTlsConnect,
    types::{ToSql, Type},
};

/// A statement and its parameters with their types.
pub(super) type Bound<'a> = (&'a str, Vec<(&'a (dyn ToSql + Sync), Type)>);
/// Who is told what the server remarks.
pub(super) type Remarks = Arc<dyn Fn(&DbError) + Send + Sync>;
/// Looks at the socket: what the server says by itself, until the connection is over.
type Poller = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Result<AsyncMessage, Error>>> + Send>;

/// What waits for the socket of one connection.
pub(super) fn runtime() -> cotenant_core::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().map_err(|cause| {
        let fault = "this process cannot wait for a socket";
        cotenant_core::Error::new(Code::StoreIo, fault)
            .hint("it may have too many files open: see `ulimit -n`")
            .caused_by(cause)
    })
}

/// A connection. Dropping it closes it.
pub(super) struct Client {
    runtime: Runtime,
    requests: tokio_postgres::Client,
    wire: Wire,
}

/// The socket with what came over it unasked.
struct Wire {
    /// None once the connection is over.
    poller: Option<Poller>,
    told: VecDeque<Notification>,
    remarks: Option<Remarks>,
}

impl Client {
    /// Connects.
    pub(super) fn connect<T>(
        runtime: Runtime,
        config: &Config,
        tls: T,
        remarks: Option<Remarks>,
    ) -> Result<Self, Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let (requests, connection) = runtime.block_on(config.connect(tls))?;
        let poller = Some(poller(connection));
        Ok(Self { runtime, requests, wire: Wire { poller, told: VecDeque::new(), remarks } })
    }

    /// Runs statements without parameters and then a query, in one round trip; answers the rows of the
    /// former as texts.
    pub(super) fn simple_query_and(
        &mut self,
        sql: &str,
        then: Option<&'static str>,
    ) -> Result<(Vec<SimpleQueryMessage>, Vec<Row>), Error> {
        let Self { runtime, requests, wire } = self;
        let then = async {
            match then {
                Some(then) => requests.query_typed(then, &[]).await,
                None => Ok(Vec::new()),
            }
        };
        wire.wait(runtime, try_join(requests.simple_query(sql), then))
    }

    /// Runs statements without parameters.
    pub(super) fn batch_execute(&mut self, sql: &str) -> Result<(), Error> {
        let Self { runtime, requests, wire } = self;
        wire.wait(runtime, requests.batch_execute(sql))
    }

    /// Runs a statement; answers how many rows it touched.
    pub(super) fn execute(&mut self, (sql, params): &Bound<'_>) -> Result<u64, Error> {
        let Self { runtime, requests, wire } = self;
        wire.wait(runtime, requests.execute_typed(sql, params))
    }

    /// Asks for rows.
    pub(super) fn query(&mut self, bound: &Bound<'_>) -> Result<Vec<Row>, Error> {
        Ok(self.query_all(std::slice::from_ref(bound))?.pop().unwrap_or_default())
    }

    /// Asks for several things in one round trip.
    pub(super) fn query_all(&mut self, bound: &[Bound<'_>]) -> Result<Vec<Vec<Row>>, Error> {
        let Self { runtime, requests, wire } = self;
        let queries = bound.iter().map(|(sql, params)| requests.query_typed(sql, params));
        wire.wait(runtime, try_join_all(queries))
    }

    /// Runs statements; if one fails, the server refuses the others until the transaction is over.
    pub(super) fn execute_all(&mut self, bound: &[Bound<'_>]) -> Result<(), Error> {
        let Self { runtime, requests, wire } = self;
        let statements = bound.iter().map(|(sql, params)| requests.execute_typed(sql, params));
        wire.wait(runtime, try_join_all(statements)).map(drop)
    }

    /// Runs statements and then a batch that ends their transaction, in one round trip. If a statement fails,
    /// so does this, and the server ends the transaction without effect, whatever the batch says. Else
    /// answers how the batch went.
    pub(super) fn execute_all_and(
        &mut self,
        bound: &[Bound<'_>],
        then: &str,
    ) -> Result<Result<(), Error>, Error> {
        let Self { runtime, requests, wire } = self;
        let statements = bound.iter().map(|(sql, params)| requests.execute_typed(sql, params));
        let all = async {
            let mut statements = pin!(try_join_all(statements));
            // One that cannot be sent must not be followed by a commit of the others.
            let sent = poll_fn(|context| Poll::Ready(statements.as_mut().poll(context))).await;
            match sent {
                Poll::Ready(Err(error)) => Err(error),
                Poll::Ready(Ok(_)) => Ok(requests.batch_execute(then).await),
                Poll::Pending => {
                    let (statements, then) = join(statements, requests.batch_execute(then)).await;
                    statements.map(|_| then)
                }
            }
        };
        wire.wait(runtime, all)
    }

    /// What was notified next; none if that takes too long.
    pub(super) fn notified(&mut self, limit: Duration) -> Result<Option<Notification>, Error> {
        let Self { runtime, wire, .. } = self;
        let next = poll_fn(|context| {
            let looked = wire.look(context);
            match (wire.told.pop_front(), looked) {
                (Some(notification), _) => Poll::Ready(Ok(Some(notification))),
                (None, Err(error)) => Poll::Ready(Err(error)),
                (None, Ok(())) if wire.poller.is_none() => Poll::Ready(Ok(None)),
                (None, Ok(())) => Poll::Pending,
            }
        });
        runtime.block_on(async { tokio::time::timeout(limit, next).await.unwrap_or(Ok(None)) })
    }

    /// Whether the connection is over.
    pub(super) fn is_closed(&self) -> bool {
        self.wire.poller.is_none() || self.requests.is_closed()
    }
}

impl Wire {
    /// Waits for an answer, and attends to the socket meanwhile.
    fn wait<T>(
        &mut self,
        runtime: &Runtime,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut answer = pin!(answer);
        runtime.block_on(async {
            // What came while nobody looked is seen only after a turn of the runtime: that the server ended the
            // session, say, which is lost if a write fails first.
            yield_now().await;
            poll_fn(|context| Poll::Ready(self.look(context))).await?;
            poll_fn(|context| {
                // The first time this puts what is asked on its way.
                if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                    return Poll::Ready(answer);
                }
                let looked = self.look(context);
                match (answer.as_mut().poll(context), looked) {
                    // That the connection is over is said better by what ended it.
                    (Poll::Ready(Err(answer)), Err(error)) if answer.as_db_error().is_none() => {
                        Poll::Ready(Err(error))
                    }
                    (Poll::Pending, Err(error)) => Poll::Ready(Err(error)),
                    (answer, _) => answer,
                }
            })
            .await
        })
    }

    /// Looks at the socket until nothing more can be done with it. Once it is over, whoever waits for an
    /// answer is told so.
    fn look(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        while let Some(poller) = &mut self.poller {
            match poller(context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(AsyncMessage::Notification(notification)))) => {
                    self.told.push_back(notification);
                }
                Poll::Ready(Some(Ok(AsyncMessage::Notice(remark)))) => {
                    if let Some(remarks) = &self.remarks {
                        remarks(&remark);
                    }
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(None) => self.poller = None,
                Poll::Ready(Some(Err(error))) => {
                    self.poller = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

fn poller<S, T>(mut connection: Connection<S, T>) -> Poller
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    Box::new(move |context| connection.poll_message(context))
}
