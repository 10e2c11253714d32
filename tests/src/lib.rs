//! End-to-end tests of Quarterdeck; see `e2e/main.rs`. There is no library here:
//! what tests share is either in `harness` (processes) or beside the tests.
