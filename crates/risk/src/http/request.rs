//! Method, path and parameters as the server will take them.

use url::Url;

use super::Call;
use super::body::Body;
use super::graphql::{self, Operation};
use super::table::{Table, verb, word};

/// A call after its overrides.
pub struct Request {
    /// In capitals.
    pub method: String,
    /// Names of the path as the tables write them.
    pub names: Vec<String>,
    /// The names as they were written.
    pub written: Vec<String>,
    pub parameters: Vec<(String, String)>,
    pub body: Body,
    pub graphql: Option<Operation>,
    /// The service is asked only to say what it would do.
    pub dry: bool,
    /// Names of the remote procedures that are called, and the methods of calls within this one.
    pub procedures: Vec<String>,
}

impl Request {
    pub fn of(call: &Call<'_>, url: &Url) -> Self {
        let parameters: Vec<(String, String)> =
            url.query_pairs().map(|(name, value)| (name.to_lowercase(), value.into_owned())).collect();
        let written = names(call, url);
        let body = call.body.map(Body::of).unwrap_or_default();
        let method = method(call, &parameters, &body);
        let names: Vec<String> = written.iter().map(|name| word(name)).collect();
        let graphql = document(call, &names, &parameters, &body).map(|text| graphql::operation(&text));
        let dry = dry(&parameters, &body, call);
        let procedures = procedures(call, url, &parameters, &body, &names);
        Self { method, names, written, parameters, body, graphql, dry, procedures }
    }

    /// Whether the call only asks: by its method, by what its path ends in, by a query.
    pub fn reads(&self) -> bool {
        match &self.graphql {
            Some(operation) => *operation == Operation::Asks,
            None if !self.procedures.is_empty() => {
                self.dry || self.procedures.iter().all(|name| asking(name))
            }
            None => Table::get().methods.read.contains(&self.method) || self.asks() || self.dry,
        }
    }

    /// Whether a procedure that only asks is answered with a secret.
    pub fn gives_secret(&self) -> bool {
        self.procedures.iter().any(|name| Table::get().procedures.secrets.contains(&name.to_lowercase()))
    }

    /// Posts that only ask; a version or an id may follow the name.
    fn asks(&self) -> bool {
        let words = &Table::get().words;
        let last = self.names.last().map(String::as_str).unwrap_or_default();
        let asks = |name: &str| words.asks.contains(name) && !words.destroy.contains(name);
        self.method == "POST" && last.split([':', '.']).next_back().is_some_and(asks)
    }
}

/// Whether a procedure only asks, by its name: `account.list`, `eth_getBalance`, `Query`, `GET`.
fn asking(name: &str) -> bool {
    let last = name.rsplit(['.', '/', ':']).next().unwrap_or(name);
    let known = &Table::get().procedures.asks;
    let spaced = |name: &str| known.contains(&verb(name));
    spaced(last) || last.split_once('_').is_some_and(|(_, rest)| spaced(rest))
}

/// Procedures that the call names beside its path: of JSON-RPC, of Amazon's services, or
/// the methods of the calls that it brings together.
fn procedures(
    call: &Call<'_>,
    url: &Url,
    parameters: &[(String, String)],
    body: &Body,
    names: &[String],
) -> Vec<String> {
    let posts = call.method.trim().eq_ignore_ascii_case("POST");
    let target = call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-amz-target"));
    if let Some((_, target)) = target.filter(|_| posts) {
        return vec![(*target).to_owned()];
    }
    let amazon = url.host_str().is_some_and(|host| host.ends_with(".amazonaws.com"));
    let all = |key: &str| -> Vec<String> {
        let pairs = body.pairs.iter().chain(parameters);
        pairs.filter(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.clone()).collect()
    };
    let batch = names.last().is_some_and(|name| matches!(name.as_str(), "$batch" | "batch" | "_batch"));
    match (amazon, posts) {
        (true, _) => all("Action"),
        (_, true) if body.get("jsonrpc").is_some() || batch => all("method"),
        _ => Vec::new(),
    }
}

/// Names of the path, decoded, also of a `name:verb`.
fn names(call: &Call<'_>, url: &Url) -> Vec<String> {
    let known = &Table::get().headers;
    let moved = call.headers.iter().find(|(name, _)| known.paths.contains(&name.to_lowercase()));
    let path = moved.map_or(url.path(), |(_, path)| path);
    let decoded = decoded(&decoded(path));
    decoded.split(['/', '\\']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Percent signs decoded once; `+` stays.
fn decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let kept = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(kept.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

fn method(call: &Call<'_>, parameters: &[(String, String)], body: &Body) -> String {
    let known = &Table::get().methods;
    let header = call.headers.iter().find(|(name, _)| known.override_headers.contains(&name.to_lowercase()));
    let parameter = parameters.iter().find(|(name, _)| known.override_parameters.contains(name));
    let member = body.get("_method");
    let other = header.map(|(_, value)| *value).or(parameter.map(|(_, value)| value.as_str())).or(member);
    let plain = call.method.trim().to_uppercase();
    match other {
        // An override that would make less of the call is not believed.
        Some(other) if !known.read.contains(&other.trim().to_uppercase()) => other.trim().to_uppercase(),
        _ => plain,
    }
}

/// The GraphQL document that is sent.
fn document(
    call: &Call<'_>,
    names: &[String],
    parameters: &[(String, String)],
    body: &Body,
) -> Option<String> {
    let named = names.iter().any(|name| name.contains("graphql") || name == "gql");
    let by_parameter = parameters.iter().find(|(name, _)| name == "query").map(|(_, value)| value.clone());
    // A list of documents is sent at once.
    let documents = body.pairs.iter().filter(|(name, text)| name == "query" && text.contains('{'));
    let documents: Vec<&str> = documents.map(|(_, text)| text.as_str()).collect();
    let batch = (documents.len() > 1).then(|| documents.join("\n"));
    let sent = batch.or_else(|| body.get("query").map(str::to_owned)).or(by_parameter);
    let looks = |text: &str| {
        let text = text.trim_start();
        ["{", "query", "mutation", "subscription", "fragment", "#"].iter().any(|head| text.starts_with(head))
    };
    match (named, sent) {
        (true, Some(document)) => Some(document),
        (true, None) if call.body.is_some() => call.body.map(str::to_owned),
        (false, Some(document)) if document.contains('{') && looks(&document) => Some(document),
        _ => None,
    }
}

fn dry(parameters: &[(String, String)], body: &Body, call: &Call<'_>) -> bool {
    let known = &Table::get().parameters.dry;
    let yes = |value: &str| matches!(value.to_lowercase().as_str(), "true" | "1" | "yes" | "all" | "on");
    let mut pairs = parameters.iter().chain(&body.pairs);
    let header = call.headers.iter().any(|(name, value)| known.contains(&word(name)) && yes(value));
    header || pairs.any(|(name, value)| known.contains(&word(name)) && yes(value))
}
