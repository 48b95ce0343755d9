//! The numbered checklist of what an API server must do, as raw requests to an
//! embedded cluster. The number ends the test's name.

pub mod client;
mod coverage;
mod create;
mod delete;
mod forms;
mod guarantees;
mod hostile;
mod kinds;
mod kube_client;
mod list;
mod patch;
mod protobuf;
mod quota;
mod served;
mod subresources;
mod transport;
mod update;
mod watch;
