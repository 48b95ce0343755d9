//! The numbered checklist of what an API server must do, as raw requests to an
//! embedded cluster. The number ends the test's name.

pub mod client;
mod create;
mod kube_client;
mod patch;
mod served;
mod transport;
mod update;
