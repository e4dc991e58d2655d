//! A page for a browser: one file, with its style and its script inside.

use super::escape;

/// Colours of the ground, of cards on it and of writing, in light and dark.
pub const GROUND: &str = include_str!("ground.css");
const STYLE: &str = include_str!("page.css");

/// What a page is made of; all but the title is markup.
pub struct Page<'p> {
    pub title: &'p str,
    pub style: &'p str,
    pub body: &'p str,
    pub script: &'p str,
}

impl Page<'_> {
    pub fn html(&self) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{}</title>\n<style>\n{GROUND}{STYLE}{}</style>\n</head>\n<body>\n{}\n<script>\n{}</script>\n</body>\n</html>\n",
            escape(self.title),
            self.style,
            self.body,
            self.script
        )
    }
}
