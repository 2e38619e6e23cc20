//! The frontend over real sockets, against small stand-ins for the catalog and the order replicas.

mod bad_input;
mod express;
mod fakes;
mod internal;
mod older_forms;
mod orders;
mod stocks;
mod trades;
mod ui;
