//! Tokens: who may trade, read and administrate. Without `[auth]` in the configuration nobody is asked.

mod guard;
pub mod tokens;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context, Result};
use axum::http::{HeaderMap, header};
use bazaar_domain::{ErrorKind, KeyScope, config::AuthConfig};

pub use self::guard::Sender;
use self::tokens::{Permission, Tokens};
use crate::{
    ApiFailure,
    reload::{self, Complaint, Reload},
};

/// What a process asks of tokens; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Auth(Option<Arc<TokensFile>>);

/// The file of tokens, replaced when it changes.
#[derive(Debug)]
struct TokensFile {
    file: String,
    anonymous_reads: bool,
    taken: Mutex<Taken>,
    current: RwLock<Arc<Tokens>>,
}

/// What was read last.
#[derive(Debug)]
struct Taken {
    content: String,
    complaint: Complaint,
}

impl Auth {
    /// Loads the tokens of a configuration, if it has any, and keeps them fresh for as long as the result lives.
    ///
    /// # Errors
    /// If the file cannot be read or is wrong; the message names it.
    pub fn load(config: Option<&AuthConfig>) -> Result<Self> {
        let Some(AuthConfig { tokens: file, anonymous_reads }) = config else { return Ok(Self::default()) };
        let content = read(file)?;
        let current = RwLock::new(Arc::new(parse(file, &content)?));
        let taken = Mutex::new(Taken { content, complaint: Complaint::default() });
        let tokens = TokensFile { file: file.clone(), anonymous_reads: *anonymous_reads, taken, current };
        let tokens = Arc::new(tokens);
        reload::keep_fresh(&tokens).context("SIGHUP cannot be handled")?;
        Ok(Self(Some(tokens)))
    }

    /// Reads the file again now. What is wrong with it is logged, and the tokens in use stay.
    pub fn reload(&self) {
        if let Some(tokens) = &self.0 {
            tokens.reload();
        }
    }

    /// Whether anybody is asked for a token.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Asks again whether what a request brought along permits this: for answers that go on long after it.
    pub fn still_permits(&self, headers: &HeaderMap, wanted: Permission) -> impl Fn() -> bool + Send + Sync + use<> {
        let mut kept = HeaderMap::new();
        for given in headers.get_all(header::AUTHORIZATION) {
            kept.append(header::AUTHORIZATION, given.clone());
        }
        let auth = self.clone();
        move || auth.check(&kept, wanted).is_ok()
    }

    /// Checks a request's token; returns its name, if there is one.
    ///
    /// # Errors
    /// `unauthenticated` without a token that is known and valid now, `forbidden` if it does not permit this.
    pub fn check(&self, headers: &HeaderMap, wanted: Permission) -> Result<Option<KeyScope>, ApiFailure> {
        let Some(tokens) = &self.0 else { return Ok(None) };
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let token = match (given.next(), given.next()) {
            (None, _) if wanted == Permission::Read && tokens.anonymous_reads => return Ok(None),
            (Some(header), None) => header.to_str().ok().and_then(bearer),
            _ => None,
        };
        let unauthenticated = |text: &str| ApiFailure::new(ErrorKind::Unauthenticated, text);
        let token =
            token.ok_or_else(|| unauthenticated("send one token, in a header 'Authorization: Bearer TOKEN'"))?;
        let current = Arc::clone(&tokens.current.read().unwrap_or_else(PoisonError::into_inner));
        let found = current.find(token).ok_or_else(|| unauthenticated("this token is not known, or has expired"))?;
        if !found.permits(wanted) {
            let text = format!("the token '{}' does not permit to {}", found.name(), wanted.verb());
            return Err(ApiFailure::new(ErrorKind::Forbidden, text));
        }
        Ok(Some(found.name().clone()))
    }
}

/// The token of `Bearer TOKEN` (RFC 6750, section 2.1); the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn read(file: &str) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("the tokens {file} cannot be read"))
}

fn parse(file: &str, content: &str) -> Result<Tokens> {
    Tokens::parse(content).with_context(|| format!("the tokens {file} are wrong"))
}

impl Reload for TokensFile {
    fn reload(&self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let found = read(&self.file).and_then(|content| {
            let is_new = content != taken.content;
            let tokens = is_new.then(|| parse(&self.file, &content)).transpose()?;
            Ok(tokens.map(|tokens| (content, tokens)))
        });
        match found {
            Ok(None) => taken.complaint.is_settled(),
            Ok(Some((content, tokens))) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
                *taken = Taken { content, complaint: Complaint::default() };
                tracing::info!(file = self.file, "the tokens were replaced");
            }
            Err(error) => taken.complaint.about("the old tokens stay", &error),
        }
    }
}
