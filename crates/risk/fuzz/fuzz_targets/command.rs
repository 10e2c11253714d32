#![no_main]

use libfuzzer_sys::fuzz_target;
use quarterdeck_risk::assess::{Case, assess};
use quarterdeck_risk::model::Context;

fuzz_target!(|text: String| {
    let case = Case { id: String::new(), kind: "command".to_owned(), text, lang: None };
    assess(&case, &Context::default());
});
