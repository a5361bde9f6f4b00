"""A packed folder in other people's formats; each target says what it keeps exactly and what it cannot say."""
