//! Walking a list page by page.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Code;

use crate::error::Error;

/// The items of all pages; a page is fetched when the one before is used up.
/// After an error it ends.
pub struct Items<T>(BoxStream<'static, Result<T, Error>>);

/// One page: its items and the token of the next, empty at the end.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: String,
}

impl<T: Send + 'static> Items<T> {
    /// `fetch` answers the page of a token; the first token is `first`.
    pub(crate) fn walk<F, Fut>(first: String, fetch: F) -> Self
    where
        F: Fn(String) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Page<T>, Error>> + Send,
    {
        let pages = stream::try_unfold((Some(first), fetch), |(token, fetch)| async move {
            let Some(token) = token else {
                return Ok(None);
            };
            let page = fetch(token.clone()).await?;
            let next = if page.next.is_empty() {
                None
            } else if page.next == token {
                // Would ask for the same page for ever.
                return Err(Error::client(Code::Internal, "the server answered the same page token again"));
            } else {
                Some(page.next)
            };
            Ok(Some((stream::iter(page.items.into_iter().map(Ok)), (next, fetch))))
        });
        Self(pages.try_flatten().boxed())
    }

    /// The next item; `None` at the end.
    pub async fn next_item(&mut self) -> Option<Result<T, Error>> {
        self.0.next().await
    }

    /// All of them, in memory.
    ///
    /// # Errors
    /// The first error of a page.
    pub async fn collect_all(self) -> Result<Vec<T>, Error> {
        self.0.try_collect().await
    }
}

impl<T> Stream for Items<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

/// For answers whose message must be there by contract.
pub(crate) fn required<T>(message: Option<T>, name: &str) -> Result<T, Error> {
    message.ok_or_else(|| Error::client(Code::Internal, format!("the server's answer lacks `{name}`")))
}
