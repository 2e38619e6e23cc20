//! The frontend over real sockets, against small stand-ins for the catalog and the order replicas.

mod bad_input;
mod description;
mod express;
mod fakes;
mod internal;
mod older_forms;
mod orders;
mod slow;
mod stocks;
mod stream;
mod tokens;
mod trades;
mod ui;
