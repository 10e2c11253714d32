//! The lines of the surface. Names of one's own package begin with a dot.

use std::collections::BTreeSet;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ReflectMessage, ServiceDescriptor, Value,
};

use super::options::extension;

const HEADER: &str = "# The whole API, sorted. Written by `cargo xtask surface`; do not edit.\n\
    # <number> <name>: [optional|repeated] <type> {rules}; `|x` = member of the oneof x.\n";

/// The options that are part of what the API promises.
struct Known {
    access: Option<ExtensionDescriptor>,
    message_rules: Option<ExtensionDescriptor>,
    oneof_rules: Option<ExtensionDescriptor>,
    field_rules: Option<ExtensionDescriptor>,
}

/// The text of every package of ours in `pool`.
pub fn surface(pool: &DescriptorPool) -> String {
    let known = Known {
        access: pool.get_extension_by_name("quarterdeck.options.v1.access"),
        message_rules: pool.get_extension_by_name("buf.validate.message"),
        oneof_rules: pool.get_extension_by_name("buf.validate.oneof"),
        field_rules: pool.get_extension_by_name("buf.validate.field"),
    };
    let packages: BTreeSet<String> = pool
        .files()
        .map(|file| file.package_name().to_owned())
        .filter(|name| name.starts_with("quarterdeck."))
        .collect();
    let mut text = HEADER.to_owned();
    for package in packages {
        text.push_str(&format!("\npackage {package}\n"));
        for item in items(pool, &package, &known) {
            text.push('\n');
            text.push_str(&item);
        }
    }
    text
}

/// The services, messages, enums and extensions of one package, each with its lines.
fn items(pool: &DescriptorPool, package: &str, known: &Known) -> Vec<String> {
    let services = sorted(
        pool.services().filter(|service| service.package_name() == package).map(|s| service(&s, known)),
    );
    let messages =
        pool.all_messages().filter(|message| message.package_name() == package && !message.is_map_entry());
    let messages = sorted(messages.map(|m| message(&m, known)));
    let enums =
        sorted(pool.all_enums().filter(|each| each.package_name() == package).map(|e| enumeration(&e)));
    let extensions = pool.all_extensions().filter(|each| each.package_name() == package);
    let extensions = sorted(extensions.map(|each| {
        let (name, number) = (each.full_name().to_owned(), each.number());
        let extended = each.containing_message().full_name().to_owned();
        format!("extension {name} = {number} of {extended}: {}\n", kind(&each.kind(), package))
    }));
    [services, messages, enums, extensions].concat()
}

fn sorted(items: impl Iterator<Item = String>) -> Vec<String> {
    let mut items: Vec<String> = items.collect();
    items.sort();
    items
}

fn service(service: &ServiceDescriptor, known: &Known) -> String {
    let methods = sorted(service.methods().map(|m| method(&m, known)));
    format!("service {}\n{}", service.full_name(), methods.concat())
}

fn method(method: &MethodDescriptor, known: &Known) -> String {
    let package = method.parent_service().package_name().to_owned();
    let side = |stream: bool, message: &MessageDescriptor| {
        let stream = if stream { "stream " } else { "" };
        format!("{stream}{}", relative(message.full_name(), &package))
    };
    format!(
        "  rpc {}({}) returns ({}){}\n",
        method.name(),
        side(method.is_client_streaming(), &method.input()),
        side(method.is_server_streaming(), &method.output()),
        access(method, known)
    )
}

/// ` roles=ADMIN,USER cost=10 all_projects`.
fn access(method: &MethodDescriptor, known: &Known) -> String {
    let options = method.options();
    let Some(access) = known.access.as_ref().filter(|access| options.has_extension(access)) else {
        return " no access option".to_owned();
    };
    let stated = options.get_extension(access);
    let Some(stated) = stated.as_message() else {
        return " no access option".to_owned();
    };
    let mut text = String::new();
    let field = stated.descriptor().get_field_by_name("roles");
    let roles = stated.get_field_by_name("roles");
    if let (Some(field), Some(roles)) = (field, roles.as_deref().and_then(Value::as_list))
        && let Kind::Enum(described) = field.kind()
    {
        let names = roles.iter().filter_map(|role| described.get_value(role.as_enum_number()?));
        let names = sorted(names.map(|value| value.name().trim_start_matches("ROLE_").to_owned()));
        text.push_str(&format!(" roles={}", names.join(",")));
    }
    let cost = stated.get_field_by_name("cost").and_then(|cost| cost.as_u32()).unwrap_or(0);
    text.push_str(&format!(" cost={cost}"));
    if stated.get_field_by_name("all_projects").and_then(|all| all.as_bool()) == Some(true) {
        text.push_str(" all_projects");
    }
    text
}

fn message(message: &MessageDescriptor, known: &Known) -> String {
    let rules = extension(&message.options(), known.message_rules.as_ref());
    let mut text = format!("message {}{rules}\n", message.full_name());
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let rules = extension(&oneof.options(), known.oneof_rules.as_ref());
        text.push_str(&format!("  oneof {}{rules}\n", oneof.name()));
    }
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    for field in fields {
        text.push_str(&format!("  {}\n", self::field(&field, known)));
    }
    for range in message.reserved_ranges() {
        text.push_str(&format!("  reserved {}..{}\n", range.start, range.end));
    }
    for name in message.reserved_names() {
        text.push_str(&format!("  reserved {name:?}\n"));
    }
    text
}

fn field(field: &FieldDescriptor, known: &Known) -> String {
    let package = field.parent_message().package_name().to_owned();
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let key = kind(&entry.map_entry_key_field().kind(), &package);
            let value = kind(&entry.map_entry_value_field().kind(), &package);
            format!("map<{key}, {value}>")
        }
        other => kind(&other, &package),
    };
    let oneof = field.containing_oneof();
    let label = if field.is_list() {
        "repeated "
    } else if oneof.as_ref().is_some_and(|oneof| oneof.is_synthetic()) {
        "optional "
    } else {
        ""
    };
    let member = oneof
        .filter(|oneof| !oneof.is_synthetic())
        .map(|oneof| format!(" |{}", oneof.name()))
        .unwrap_or_default();
    let rules = extension(&field.options(), known.field_rules.as_ref());
    format!("{} {}: {label}{kind}{member}{rules}", field.number(), field.name())
}

fn enumeration(described: &EnumDescriptor) -> String {
    let mut values: Vec<(i32, String)> =
        described.values().map(|value| (value.number(), value.name().to_owned())).collect();
    values.sort();
    let lines: String = values.iter().map(|(number, name)| format!("  {name} = {number}\n")).collect();
    format!("enum {}\n{lines}", described.full_name())
}

fn kind(kind: &Kind, package: &str) -> String {
    match kind {
        Kind::Message(message) => relative(message.full_name(), package),
        Kind::Enum(described) => relative(described.full_name(), package),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

/// `.Task` for a name of the package, the full name for others.
fn relative(name: &str, package: &str) -> String {
    match name.strip_prefix(package) {
        Some(own) if own.starts_with('.') => own.to_owned(),
        _ => name.to_owned(),
    }
}
