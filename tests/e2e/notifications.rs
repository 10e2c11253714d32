//! Webhooks: real receivers are told of what people are asked, signed, in order, again
//! until they have taken it, and of nothing that is none of their business.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use quarterdeck_client::api::approvals::v1 as pb;
use quarterdeck_client::api::errors::v1::Reason;
use quarterdeck_client::api::options::v1::Role;
use quarterdeck_client::{Client, Payload};
use quarterdeck_harness::free_port;
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::approvals::{approver, decide, pending, script, somebody};
use crate::expect::{refused, until, within};
use crate::plans::{plan, step};
use crate::stack::Stack;
use crate::world::{Working, World, new_project};

/// What must not leave: the action, a secret in it, and names that people gave.
const ACTION: &str = "rm -rf /var/lib/postgresql --token ghp_16C7e42F292c6912E7710c838347Ae178B4a";
const DISPLAYED: &str = "what nobody else may read";

#[tokio::test]
async fn a_receiver_is_told_on_sqlite() {
    let desk = Desk::start(2).await;
    let stack = Stack::sqlite_with(&["--webhook-allow", &desk.origin()]).await;
    Box::pin(is_told(World::on(&stack).await, desk)).await;
}

#[tokio::test]
async fn a_receiver_is_told_on_postgres() {
    let desk = Desk::start(2).await;
    let stack = Stack::postgres_with(&["--webhook-allow", &desk.origin()]).await;
    Box::pin(is_told(World::on(&stack).await, desk)).await;
}

/// One request as it came.
#[derive(Clone, Debug)]
struct Heard {
    head: String,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// As the Standard Webhooks say, with nothing of ours.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let text =
            format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(text.as_bytes());
        self.header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// A receiver that answers 500 a few times, and then takes everything.
struct Desk {
    port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
    serving: JoinHandle<()>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Desk {
    async fn start(failures: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let writing = Arc::clone(&heard);
        let serving = tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
                while !bytes.ends_with(b"}") {
                    match socket.read(&mut piece).await {
                        Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
                        _ => break,
                    }
                }
                let text = String::from_utf8(bytes).unwrap();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let tries = {
                    let mut heard = writing.lock().unwrap();
                    heard.push(Heard { head: head.to_owned(), body: body.to_owned() });
                    heard.len()
                };
                let status = if tries <= failures { "500 Oops" } else { "204 No Content" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        Self { port, heard, serving }
    }

    fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn heard(&self, count: usize) -> Vec<Heard> {
        until("requests of the server", || async {
            let heard = self.heard.lock().unwrap().clone();
            (heard.len() >= count).then_some(heard)
        })
        .await
    }
}

fn webhook(world: &World, url: String) -> pb::CreateWebhookRequest {
    pb::CreateWebhookRequest {
        project: world.project.clone(),
        url,
        link_template: "https://desk.example/approvals/{approval}".to_owned(),
        ..Default::default()
    }
}

async fn listed(client: &Client, world: &World) -> Vec<pb::Webhook> {
    let request = pb::ListWebhooksRequest { project: world.project.clone() };
    client.list_webhooks(request).await.unwrap()
}

fn working(world: &World) -> Working {
    world.work(&world.other, "worker", &["work"], 4, |_| async { Ok(Payload::text("done")) })
}

/// A request that people deny.
async fn denied(world: &World) -> pb::Approval {
    let mut step = step("wipe", "work");
    step.action = Some(script(ACTION));
    let mut request = world.request(plan([step]));
    request.display_name = DISPLAYED.to_owned();
    world.admin.create_task(request).await.unwrap();
    let asked = pending(world).await;
    let by = approver(world, "ann").await;
    decide(&by, &[&asked], pb::Vote::Deny).await.unwrap();
    asked
}

async fn is_told(world: World, desk: Desk) {
    let _worker = working(&world);
    let made = world.admin.create_webhook(webhook(&world, format!("{}/in", desk.origin()))).await.unwrap();
    let id = made.webhook.unwrap().id;
    let asked = denied(&world).await;
    let heard = desk.heard(4).await;
    for request in &heard {
        assert!(request.is_signed_with(&made.secret), "{request:?}");
        let mut forged = request.clone();
        forged.body = forged.body.replace("high", "low");
        assert!(!forged.is_signed_with(&made.secret));
        assert_eq!(request.header("webhook-id"), request.json()["id"]);
        let all = format!("{}{}", request.head, request.body);
        for secret in ["rm -rf", "postgresql", "ghp_", DISPLAYED, "wipe", "ann", "looked at it", &made.secret]
        {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
    }
    let kinds: Vec<String> =
        heard.iter().map(|request| request.json()["kind"].as_str().unwrap().to_owned()).collect();
    let requested = "approval.requested";
    assert_eq!(kinds, [requested, requested, requested, "approval.denied"], "tried again, in order");
    let told = heard[2].json();
    assert_eq!(told["id"], heard[0].json()["id"], "the same at every try");
    assert_eq!(told["approval"], asked.id);
    assert_eq!(told["task"], asked.task_id);
    assert_eq!(told["project"], world.project);
    assert_eq!(told["level"], "high");
    assert_eq!(told["url"], format!("https://desk.example/approvals/{}", asked.id));
    let delivery = until("the state of the webhook", || async {
        let delivery = listed(&world.other, &world).await.remove(0).delivery?;
        (delivery.failures == 0 && delivery.last_delivery_time.is_some()).then_some(delivery)
    })
    .await;
    assert_eq!(delivery.last_error, "");
    refuses(&world, &desk, &id).await;
    is_audited(&world, &id).await;
}

async fn refuses(world: &World, desk: &Desk, id: &str) {
    let elsewhere = webhook(world, "https://hooks.example/in".to_owned());
    let answer = world.admin.create_webhook(elsewhere).await;
    refused("an address that is not allowed", answer, Reason::WebhookAddressNotAllowed);
    for (url, template) in [
        ("ftp://hooks.example", ""),
        ("http://u:p@127.0.0.1", ""),
        ("no url", ""),
        ("https://hooks.example", "https://desk.example/"),
        ("https://hooks.example", "javascript:{approval}"),
    ] {
        let bad = webhook(world, url.to_owned());
        let bad = pb::CreateWebhookRequest { link_template: template.to_owned(), ..bad };
        refused(&format!("{url} {template}"), world.admin.create_webhook(bad).await, Reason::FieldsInvalid);
    }
    let user = somebody(world, "user", "user", &[Role::User, Role::Approver, Role::Service]).await;
    let answer = user.create_webhook(webhook(world, desk.origin())).await;
    refused("one who is no administrator", answer, Reason::RoleMissing);
    let list = pb::ListWebhooksRequest { project: world.project.clone() };
    refused("one who is no administrator", user.list_webhooks(list.clone()).await, Reason::RoleMissing);
    // An administrator of another project sees and deletes nothing here.
    let elsewhere = World { project: new_project(&world.admin).await, ..world.clone() };
    let stranger = somebody(&elsewhere, "stranger", "stranger", &[Role::Admin]).await;
    refused("a stranger", stranger.list_webhooks(list).await, Reason::ProjectNotFound);
    let delete = |project: &str| pb::DeleteWebhookRequest {
        project: project.to_owned(),
        webhook_id: id.to_owned(),
        request_id: String::new(),
    };
    let answer = stranger.delete_webhook(delete(&elsewhere.project)).await;
    refused("a stranger", answer, Reason::WebhookNotFound);
    for number in 1..20 {
        let more = webhook(world, format!("{}/{number}", desk.origin()));
        let kinds = vec![pb::NotificationKind::Incident.into()];
        world.admin.create_webhook(pb::CreateWebhookRequest { kinds, ..more }).await.unwrap();
    }
    let answer = world.admin.create_webhook(webhook(world, desk.origin())).await;
    refused("the 21st", answer, Reason::LimitReached);
    let mut once = delete(&world.project);
    once.request_id = "once".to_owned();
    for _ in 0..2 {
        world.admin.delete_webhook(once.clone()).await.unwrap();
    }
    refused(
        "one that is gone",
        world.admin.delete_webhook(delete(&world.project)).await,
        Reason::WebhookNotFound,
    );
    assert!(listed(&world.admin, world).await.iter().all(|webhook| webhook.id != id));
}

/// Who created and deleted it is in the audit; what may be a secret of the URL is not.
async fn is_audited(world: &World, id: &str) {
    let entries = until("the entries of the webhook", || async {
        let request = pb::ListAuditEntriesRequest {
            project: world.project.clone(),
            page_size: 500,
            ..Default::default()
        };
        let page = world.admin.audit_stub().list_audit_entries(request).await.unwrap().into_inner();
        let texts: Vec<String> = page.entries.iter().map(|entry| format!("{entry:?}")).collect();
        let ours: Vec<String> = texts.into_iter().filter(|text| text.contains(id)).collect();
        (ours.len() >= 2).then_some(ours)
    })
    .await;
    assert!(entries[0].contains("policy.webhook_created") && !entries[0].contains("/in"), "{}", entries[0]);
    assert!(entries[1].contains("policy.webhook_deleted"), "{}", entries[1]);
}

/// The receiver of `docs/how-to/be-notified.md`, as it is printed there.
fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/how-to/be-notified.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("```python\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_receiver_of_the_documents_takes_what_is_signed_and_nothing_else() {
    let port = free_port();
    let origin = format!("http://127.0.0.1:{port}");
    let stack = Stack::sqlite_with(&["--webhook-allow", &origin]).await;
    let world = World::on(&stack).await;
    let _worker = working(&world);
    let made = world.admin.create_webhook(webhook(&world, format!("{origin}/"))).await.unwrap();
    let mut running = Command::new("python3")
        .args(["-u", "-c", &example()])
        .env("WEBHOOK_SECRET", &made.secret)
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    assert_eq!(within("the receiver", lines.next_line()).await.unwrap().unwrap(), "listening");
    let mut forger = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let forged = format!(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nwebhook-id: i\r\nwebhook-timestamp: 1\r\n\
         webhook-signature: v1,{}\r\n\r\n{{}}",
        STANDARD.encode([7; 32])
    );
    forger.write_all(forged.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within("its answer", forger.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.split("\r\n").next().unwrap().contains("401"), "{answer}");
    let asked = denied(&world).await;
    for kind in ["approval.requested", "approval.denied"] {
        let line = within("a notice", lines.next_line()).await.unwrap().unwrap();
        assert_eq!(line, format!("{kind} https://desk.example/approvals/{}", asked.id));
    }
}
