//! A complete agent: offers `echo` and answers its input in upper case.
#![allow(clippy::disallowed_methods, reason = "an example reads its own settings")]

use quarterdeck_client::{CancellationToken, Client, Config, Error, Payload, Worker};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let setting = |name: &str| std::env::var(name).ok();
    let address = setting("QUARTERDECK_ADDRESS").unwrap_or("http://127.0.0.1:7443".into());
    let mut config = Config::new(address);
    config.credential = setting("QUARTERDECK_API_KEY");
    let client = Client::connect(config).await?;
    let agent = Worker::builder(&client, "echo").on("echo", |step| async move {
        let text = step.input().to_text()?;
        Ok(Payload::text(text.to_uppercase()))
    });
    agent.build()?.run(CancellationToken::new()).await?;
    Ok(())
}
