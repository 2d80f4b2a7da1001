//! What goes out comes in again, and what is damaged is named.
