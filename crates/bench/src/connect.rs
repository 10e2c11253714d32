//! The generator's connections, shared by agents, submitters and the health
//! checks of the ceiling. Generated stubs straight on the channel: what the
//! generator saves goes to the server, for both share the machine.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quarterdeck_api::approvals::v1::approval_service_client::ApprovalServiceClient;
use quarterdeck_api::approvals::v1::gate_service_client::GateServiceClient;
use quarterdeck_api::operations::v1::key_service_client::KeyServiceClient;
use quarterdeck_api::orchestration::v1::task_service_client::TaskServiceClient;
use quarterdeck_api::orchestration::v1::worker_service_client::WorkerServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::health_client::HealthClient;

/// Connections of the generator, where a scenario asks for no other number.
pub const CONNECTIONS: usize = 16;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

pub type Authorized = InterceptedService<Channel, Bearer>;

/// Adds the credential to each request.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Open connections, spread evenly over the servers.
pub struct Connections {
    channels: Vec<Channel>,
    bearer: Bearer,
}

impl Connections {
    /// `count` of them; each is one socket.
    ///
    /// # Errors
    /// When a server does not take one.
    pub async fn open(addresses: &[SocketAddr], credential: &str, count: usize) -> Result<Self> {
        let mut value = MetadataValue::try_from(format!("Bearer {credential}"))?;
        value.set_sensitive(true);
        ensure!(count > 0, "a generator without connections");
        let mut channels = Vec::with_capacity(count);
        for address in addresses.iter().cycle().take(count) {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))?
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW);
            let channel = endpoint.connect().await;
            channels.push(channel.with_context(|| format!("cannot connect to the server at {address}"))?);
        }
        Ok(Self { channels, bearer: Bearer(value) })
    }

    /// Sockets, which is what [`Self::open`] was asked for.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    fn channel(&self, index: usize) -> Channel {
        self.channels[index % self.channels.len()].clone()
    }

    /// On connection `index`, counted round and round.
    pub fn tasks(&self, index: usize) -> TaskServiceClient<Authorized> {
        TaskServiceClient::with_interceptor(self.channel(index), self.bearer.clone())
    }

    pub fn worker(&self, index: usize) -> WorkerServiceClient<Authorized> {
        WorkerServiceClient::with_interceptor(self.channel(index), self.bearer.clone())
    }

    pub fn gate(&self, index: usize) -> GateServiceClient<Authorized> {
        GateServiceClient::with_interceptor(self.channel(index), self.bearer.clone())
    }

    pub fn approvals(&self, index: usize) -> ApprovalServiceClient<Authorized> {
        ApprovalServiceClient::with_interceptor(self.channel(index), self.bearer.clone())
    }

    pub fn keys(&self, index: usize) -> KeyServiceClient<Authorized> {
        KeyServiceClient::with_interceptor(self.channel(index), self.bearer.clone())
    }

    /// Without the credential: the barest call there is.
    pub fn health(&self, index: usize) -> HealthClient<Channel> {
        HealthClient::new(self.channel(index))
    }
}
