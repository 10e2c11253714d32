//! Migrations are embedded by a macro that does not see files being added.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
