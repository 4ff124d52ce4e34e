//! The query of a request: which scopes and metrics the page has.
//!
//! The parameters are promex's: `scope`, several times or none; `metrics`, a list of full names, of
//! which those with a `-` are left out; and `no-maint`. Other parameters have no effect, as with
//! promex, because Prometheus's `params` can hold parameters for something in between.

use thiserror::Error;

/// Bytes that a query may have.
pub(super) const QUERY_MAX_BYTES: usize = 8192;

/// The contents of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub(super) process: bool,
    pub(super) frontends: bool,
    pub(super) backends: bool,
    pub(super) servers: bool,
    pub(super) own: bool,
    /// The only metrics; all if there is none.
    only: Vec<String>,
    except: Vec<String>,
    /// Whether servers in maintenance are left out.
    pub(super) no_maint: bool,
}

/// A query that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// A scope that does not exist.
    #[error(
        "{0:?} is no scope; write global, frontend, backend, server, haproxystats or * (listener, \
         sticktable and resolver are known and empty)"
    )]
    Scope(String),
    /// A percent sign without two hexadecimal digits, or bytes that are no UTF-8.
    #[error("{0:?} is no text of a query: write %25 for a percent sign, and UTF-8")]
    Escape(String),
    /// A query beyond the bound.
    #[error("the query has {0} bytes; write at most {QUERY_MAX_BYTES}")]
    Length(usize),
}

impl Default for Query {
    fn default() -> Self {
        Self::of_all(true)
    }
}

impl Query {
    /// Parses the part of a URL behind its question mark.
    ///
    /// ```
    /// use haproxystats_receivers::prometheus::Query;
    ///
    /// assert_eq!(Query::parse("")?, Query::default());
    /// assert!(Query::parse("scope=servers").is_err());
    /// # Ok::<(), haproxystats_receivers::prometheus::QueryError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > QUERY_MAX_BYTES {
            return Err(QueryError::Length(text.len()));
        }
        let mut query = Self::default();
        let mut has_scope = false;
        for parameter in text.split('&') {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match decoded(key)?.as_str() {
                "scope" => {
                    if !has_scope {
                        query = Self {
                            only: query.only,
                            except: query.except,
                            no_maint: query.no_maint,
                            ..Self::of_all(false)
                        };
                        has_scope = true;
                    }
                    query.add_scope(decoded(value)?)?;
                }
                "metrics" => {
                    let names = decoded(value)?;
                    for name in names.split(',').filter(|name| !name.is_empty()) {
                        match name.strip_prefix('-') {
                            Some(name) => query.except.push(name.to_owned()),
                            None => query.only.push(name.to_owned()),
                        }
                    }
                }
                "no-maint" => query.no_maint = true,
                _ => {}
            }
        }
        Ok(query)
    }

    const fn of_all(is_in: bool) -> Self {
        Self {
            process: is_in,
            frontends: is_in,
            backends: is_in,
            servers: is_in,
            own: is_in,
            only: Vec::new(),
            except: Vec::new(),
            no_maint: false,
        }
    }

    fn add_scope(&mut self, scope: String) -> Result<(), QueryError> {
        match scope.as_str() {
            "global" => self.process = true,
            "frontend" => self.frontends = true,
            "backend" => self.backends = true,
            "server" => self.servers = true,
            "haproxystats" => self.own = true,
            // The empty scope takes all scopes away, as in promex.
            "listener" | "sticktable" | "resolver" | "" => {}
            "*" => {
                (self.process, self.frontends, self.backends) = (true, true, true);
                (self.servers, self.own) = (true, true);
            }
            _ => return Err(QueryError::Scope(scope)),
        }
        Ok(())
    }

    /// Whether the page has the metric of this full name.
    pub(super) fn has(&self, name: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|listed| listed == name);
        (self.only.is_empty() || is_in(&self.only)) && !is_in(&self.except)
    }
}

fn decoded(text: &str) -> Result<String, QueryError> {
    let wrong = || QueryError::Escape(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2).ok_or_else(wrong)?;
                rest = behind;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (Some(high), Some(low)) = (digit(digits[0]), digit(digits[1])) else {
                    return Err(wrong());
                };
                bytes.push((high * 16 + low) as u8);
            }
            _ => bytes.push(first),
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_parsed() {
        let query = Query::parse("scope=server&metrics=a,-b%2Cc&no-maint&scope=global&x=1");
        let query = query.unwrap();
        assert!(query.process && query.servers && query.no_maint);
        assert!(!query.frontends && !query.backends && !query.own);
        assert_eq!(
            (&query.only[..], &query.except[..]),
            (&["a".to_owned(), "c".to_owned()][..], &["b".to_owned()][..])
        );
        assert!(query.has("a") && query.has("c") && !query.has("b") && !query.has("d"));
        assert!(Query::parse("metrics=-b").unwrap().has("d"));
        assert!(!Query::parse("scope=").unwrap().own);
        assert_eq!(Query::parse("scope=&scope=*").unwrap(), Query::default());
        assert_eq!(Query::parse("sc%6fpe=*").unwrap(), Query::default());
    }

    #[test]
    fn a_wrong_query_names_what_is_wrong() {
        for (text, part) in [
            ("scope=servers", "\"servers\" is no scope; write global"),
            ("scope=%4", "write %25"),
            ("metrics=%ff", "UTF-8"),
            ("scope=%é", "write %25"),
        ] {
            let error = Query::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(Query::parse(&"&".repeat(8193)), Err(QueryError::Length(8193)));
    }
}
