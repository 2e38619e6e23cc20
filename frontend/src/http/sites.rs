//! Requests that a browser sends for a page of another site. The browser shows such a page no answer, but by then a trade
//! would have happened; and a page whose name is made to point at this machine (DNS rebinding) is shown the answers too.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderName, Method, header},
    middleware::{self, Next},
    response::IntoResponse,
};
use bazaar_domain::{ApiError, ErrorKind, TradeFate};
use bazaar_service::ApiFailure;
use tokio::net::TcpListener;

/// Which pages are this frontend's own.
#[derive(Debug, Clone)]
pub(crate) struct Sites {
    /// Only this machine reaches the listener.
    is_local: bool,
    /// The host by which browsers call it, through a proxy on this machine.
    public_name: Option<Arc<str>>,
}

impl Sites {
    /// Those of a listener.
    pub(crate) fn of(listener: &TcpListener, public_name: Option<&str>) -> Self {
        let is_local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        Self { is_local, public_name: public_name.map(Into::into) }
    }

    /// These routes, without what a page of another site asks of them.
    pub(crate) fn guard(self, routes: Router) -> Router {
        routes.layer(middleware::from_fn(move |request: Request, next: Next| {
            let refused = self.check(request.method(), request.uri().path(), request.headers());
            let is_change = request.method() == Method::POST;
            async move {
                match refused {
                    Ok(()) => next.run(request).await,
                    Err(why) => {
                        let error = ApiError::new(ErrorKind::Forbidden, why);
                        let error = if is_change { error.with_outcome(TradeFate::NotApplied) } else { error };
                        ApiFailure(error).into_response()
                    }
                }
            }
        }))
    }

    /// Only browsers send an `Origin`. They send it with every `POST`, and no page can leave it out or change it.
    fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), &'static str> {
        let host = text(headers, &header::HOST);
        let is_page = path == "/ui" || path.starts_with("/ui/");
        let is_browsers_post = method == Method::POST && headers.contains_key(header::ORIGIN);
        if is_browsers_post && (host.is_none() || origin(headers) != host) {
            return Err(
                "this request comes from a page of another site; send it without Origin, or from the same host",
            );
        }
        if (is_page || is_browsers_post) && !host.is_some_and(|host| self.are_called(host)) {
            return Err(
                "this frontend is for its own machine: call it by 127.0.0.1 or localhost, or give the name by \
                        which browsers call it as frontend.public_name",
            );
        }
        Ok(())
    }

    fn are_called(&self, host: &str) -> bool {
        let is_public = self.public_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(name_of(host)));
        !self.is_local || is_loopback(host) || is_public
    }
}

/// The host of `Origin`. The scheme does not matter: TLS may end before us.
pub(crate) fn origin(headers: &HeaderMap) -> Option<&str> {
    let (scheme, host) = text(headers, &header::ORIGIN)?.split_once("://")?;
    matches!(scheme, "http" | "https").then_some(host)
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a host names this machine as such.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = name_of(host).trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(is_local: bool) -> Sites {
        Sites { is_local, public_name: Some("shop.example".into()) }
    }

    fn headers(host: &str, origin: &str) -> HeaderMap {
        let given = [(header::HOST, host), (header::ORIGIN, origin)].into_iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| (name, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_page_of_another_site_changes_nothing() {
        for (host, origin, is_taken) in [
            ("127.0.0.1:8080", "", true),
            ("bazaar.internal:8080", "", true),
            ("127.0.0.1:8080", "http://127.0.0.1:8080", true),
            ("shop.example", "https://shop.example", true),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("127.0.0.1:8080", "http://127.0.0.1:9090", false),
            ("127.0.0.1:8080", "https://evil.example", false),
            ("127.0.0.1:8080", "null", false),
            // Its name points here.
            ("evil.example:8080", "http://evil.example:8080", false),
            ("", "http://127.0.0.1:8080", false),
        ] {
            let checked = sites(true).check(&Method::POST, "/orders", &headers(host, origin));
            assert_eq!(checked.is_ok(), is_taken, "{host} {origin}");
        }
        let elsewhere = headers("bazaar.example", "https://bazaar.example");
        assert!(sites(false).check(&Method::POST, "/orders", &elsewhere).is_ok(), "others may call it as they like");
        assert!(sites(true).check(&Method::GET, "/stocks", &headers("evil.example", "")).is_ok());
    }

    #[test]
    fn the_page_of_this_machine_is_called_by_its_names_only() {
        for (host, is_shown) in [
            ("127.0.0.1:8080", true),
            ("127.3.2.1", true),
            ("localhost:8080", true),
            ("[::1]:8080", true),
            ("Shop.Example", true),
            ("shop.example.evil.example", false),
            ("192.168.1.7:8080", false),
            ("", false),
        ] {
            for path in ["/ui", "/ui/events", "/ui/log/1/2"] {
                let checked = sites(true).check(&Method::GET, path, &headers(host, ""));
                assert_eq!(checked.is_ok(), is_shown, "{host} {path}");
            }
            assert!(sites(false).check(&Method::GET, "/ui", &headers(host, "")).is_ok() || host.is_empty());
        }
    }
}
