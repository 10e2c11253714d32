#![allow(dead_code, unused)]
mod board;
mod clock;
mod connect;
mod failure;
mod output;
mod plan_file;
mod tracker;
mod values;
mod demo {
    mod agents;
    mod analyse;
    mod compose;
    mod files;
    mod plan;
    mod prose;
    mod split;
    mod summary;
    #[cfg(test)]
    mod tests;
    mod verify;
}
mod commands {
    pub mod agent;
    pub mod health;
    pub mod key;
    pub mod project;
    pub mod task;
}
fn main() {}
