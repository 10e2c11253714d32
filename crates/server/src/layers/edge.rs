//! The one service behind every connection.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::{Request, Response};
use quarterdeck_engine::{Clock, Entropy, Error};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;
use tracing::Instrument as _;

use super::admit::admit;
use super::body::{End, WatchedBody};
use super::methods::{Kind, Method};
use super::observe::{Call, REQUEST_ID, RequestIds};
use super::upload::Upload;
use super::{deadline, transport, upload};
use crate::accept::{Busy, Conduct, Ledger};
use crate::auth::{Authenticator, Caller};
use crate::config::Limits;
use crate::status::{self, Failure, Fault};

/// When streams end although nobody asked them to.
#[derive(Clone, Debug, Default)]
pub struct Endings {
    /// The drain has begun: watches end now.
    pub watches: CancellationToken,
    /// It is about to be over: workers' sessions end now.
    pub sessions: CancellationToken,
}

/// How long a call without a credential may take, or its stream to begin.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Edge {
    shared: Arc<Shared>,
    routes: Routes,
}

struct Shared {
    authenticator: Authenticator,
    limits: Limits,
    ids: RequestIds,
    clock: Arc<dyn Clock>,
    endings: Endings,
    ledger: Arc<Ledger>,
}

impl Edge {
    pub fn new(
        routes: Routes,
        authenticator: Authenticator,
        limits: Limits,
        (clock, entropy): (Arc<dyn Clock>, &dyn Entropy),
        endings: Endings,
    ) -> Self {
        let ids = RequestIds::new(entropy);
        let ledger = Ledger::new(limits.held);
        let shared = Shared { authenticator, limits, ids, clock, endings, ledger };
        Self { shared: Arc::new(shared), routes: routes.prepare() }
    }

    /// The service for one connection.
    pub fn on(&self, conduct: &Arc<Conduct>) -> Connected {
        Connected { edge: self.clone(), conduct: Arc::clone(conduct) }
    }

    async fn answer<B>(self, request: Request<B>, mut busy: Busy) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Some(refused) = transport::refuse(&request) {
            return refused;
        }
        let method = Method::find(request.uri().path());
        let id = self.shared.ids.of(request.headers());
        let label = method.map_or("unknown", |method| method.path);
        let call = Call::begin(label, id, Arc::clone(&self.shared.clock));
        let ledger = Arc::clone(&self.shared.ledger);
        let span = call.span.clone();
        let (mut response, end) = async {
            match self.handle(request, method, &mut busy).await {
                Ok(answered) => answered,
                Err(failure) => {
                    if failure.is_fruitless() {
                        busy.conduct().fruitless();
                    }
                    (status::response(failure), None)
                }
            }
        }
        .instrument(span)
        .await;
        status::complete(response.headers_mut());
        response.headers_mut().insert(REQUEST_ID, call.id.clone());
        finish(response, end, call, (busy, ledger))
    }

    async fn handle<B>(
        mut self,
        mut request: Request<B>,
        method: Option<&'static Method>,
        busy: &mut Busy,
    ) -> Result<(Response<Body>, Option<End>), Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Some(method) = method else {
            let path = request.uri().path().chars().take(200).collect();
            return Err(Fault::MethodUnknown { path }.into());
        };
        let mut time = deadline::of(request.headers(), &self.shared.limits, method.is_poll())?;
        if method.streaming {
            // Of a stream only the beginning is bounded; how long it lives is its own affair.
            time = self.shared.limits.default_deadline;
        }
        if matches!(method.kind, Kind::Open) {
            time = time.min(OPEN_DEADLINE);
            let what = "calls without a credential on a connection";
            let full = |limit: u32| Error::LimitReached { what, limit: limit.into() };
            busy.without_credential().map_err(full)?;
        }
        request.extensions_mut().insert(deadline::TimeAllowed(time));
        let held = upload::shared(self.shared.ledger.open(busy.conduct()));
        let work = async {
            let mut caller = None;
            if let Kind::Guarded(access) = method.kind {
                let known = self.shared.authenticator.authenticate(request.headers()).await?;
                admit(&known.principal, access)?;
                request.extensions_mut().insert(known.clone());
                caller = Some(known);
            }
            let longest = self.shared.limits.message_size;
            let request = request.map(|body| Upload::new(body, Arc::clone(&held), method.streaming, longest));
            // The router is always ready and never fails.
            let answering = AssertUnwindSafe(self.routes.call(request)).catch_unwind();
            let answered = match caller.as_ref().filter(|_| method.is_poll()) {
                // Who waits is given nothing more once its credential is void.
                Some(caller) => tokio::select! {
                    biased;
                    answered = answering => answered,
                    error = self.shared.authenticator.until_invalid(caller) => return Err(error.into()),
                },
                None => answering.await,
            };
            match answered {
                Ok(Ok(response)) => Ok((response, caller)),
                Ok(Err(never)) => match never {},
                Err(_panic) => {
                    tracing::error!("a handler panicked");
                    Err(Failure::from(Fault::Defect))
                }
            }
        };
        let within = tokio::time::timeout(time, work).await;
        let (response, caller) = within.map_err(|_| Fault::DeadlineExceeded)??;
        let end = method.streaming.then(|| ending(Arc::clone(&self.shared), method, caller));
        Ok((response, end))
    }
}

/// Ready when the stream has to end.
fn ending(shared: Arc<Shared>, method: &'static Method, caller: Option<Caller>) -> End {
    Box::pin(async move {
        let token = match method.is_session() {
            true => &shared.endings.sessions,
            false => &shared.endings.watches,
        };
        let credential = async {
            match &caller {
                Some(caller) => shared.authenticator.until_invalid(caller).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = token.cancelled() => Fault::Draining.into(),
            error = credential => error.into(),
        }
    })
}

/// Watches the answer to its end; one without a body ends here.
fn finish(
    response: Response<Body>,
    end: Option<End>,
    mut call: Call,
    (busy, ledger): (Busy, Arc<Ledger>),
) -> Response<Body> {
    if let Some(code) = status::code_of(response.headers()) {
        call.code(code);
        return response;
    }
    response.map(|body| Body::new(WatchedBody::new(body, end, call).on(busy, ledger)))
}

/// The edge as one connection sees it.
#[derive(Clone)]
pub struct Connected {
    edge: Edge,
    conduct: Arc<Conduct>,
}

impl<B> Service<Request<B>> for Connected
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // From the first byte on, so that who resets at once is seen to have called.
        let (edge, busy) = (self.edge.clone(), self.conduct.call());
        Box::pin(async move { Ok(edge.answer(request, busy).await) })
    }
}
