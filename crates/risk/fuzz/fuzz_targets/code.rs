#![no_main]

use libfuzzer_sys::fuzz_target;
use quarterdeck_risk::assess::{Case, assess};
use quarterdeck_risk::model::Context;

const LANGUAGES: [&str; 6] = ["python", "javascript", "typescript", "go", "rust", "ruby"];

fuzz_target!(|input: (u8, String)| {
    let (language, text) = input;
    let lang = LANGUAGES.get(usize::from(language) % LANGUAGES.len()).map(|name| (*name).to_owned());
    let case = Case { id: String::new(), kind: "code".to_owned(), text, lang };
    assess(&case, &Context::default());
});
