#![no_main]

use libfuzzer_sys::fuzz_target;
use quarterdeck_risk::redact;

fuzz_target!(|text: String| {
    let redacted = redact::text(&text);
    assert_eq!(redact::text(&redacted), redacted, "redacting again changes something");
});
