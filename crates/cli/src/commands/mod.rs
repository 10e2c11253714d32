//! One file a group of commands; `dispatch` calls them.

pub mod agent;
pub mod demo;
pub mod dev;
mod dispatch;
pub mod doctor;
pub mod health;
pub mod key;
pub mod migrate;
pub mod project;
pub mod risk;
pub mod serve;
pub mod task;

pub use dispatch::run;
