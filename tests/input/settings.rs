//! What may be set from outside to replay or to widen a run.

use std::time::{SystemTime, UNIX_EPOCH};

/// Used unless another one is given: CI has to be the same every day.
const SEED: u64 = 0x5eed_0003_0005;

/// From the environment.
pub struct Settings {
    pub seed: u64,
    messages: Option<usize>,
    only: Option<String>,
}

impl Settings {
    pub fn read() -> Self {
        let variable = |name: &str| std::env::var(format!("QUARTERDECK_TEST_INPUT_{name}")).ok();
        let seed = match variable("SEED").as_deref() {
            None | Some("") => SEED,
            Some("random") => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
                since.as_nanos() as u64
            }
            Some(text) => text.parse().expect("QUARTERDECK_TEST_INPUT_SEED is a number or `random`"),
        };
        let messages = variable("MESSAGES").map(|text| text.parse().expect("a number of messages"));
        let only = variable("ONLY").filter(|text| !text.is_empty());
        println!("seed {seed}");
        Self { seed, messages, only }
    }

    /// How many messages a method gets.
    pub fn messages(&self, usual: usize) -> usize {
        self.messages.unwrap_or(usual)
    }

    /// Whether this method is wanted.
    pub fn wants(&self, path: &str) -> bool {
        let part = self.only.as_deref().map(|only| only.split('#').next().unwrap_or_default());
        // A path is that method and not another one that begins the same.
        part.is_none_or(|part| if part.starts_with('/') { path == part } else { path.contains(part) })
    }

    /// Whether all methods are.
    pub fn wants_all(&self) -> bool {
        self.only.is_none()
    }

    /// The one call that is wanted, if it is one.
    pub fn one(&self) -> Option<usize> {
        let (_, index) = self.only.as_deref()?.split_once('#')?;
        Some(index.parse().expect("`part#index` has a number"))
    }

    /// The command that makes this one call again.
    pub fn replay(&self, path: &str, index: usize, test: &str) -> String {
        let seed = self.seed;
        format!(
            "QUARTERDECK_TEST_INPUT_SEED={seed} QUARTERDECK_TEST_INPUT_ONLY='{path}#{index}' \
             scripts/with-services cargo test -p quarterdeck-tests --test input {test} -- --nocapture"
        )
    }
}
