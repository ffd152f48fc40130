"""The tables of a store, and how an older store becomes a current one.

SQLite holds the only truth about a store; everything else on disk is either named by a row or an orphan.
"""

from __future__ import annotations

#: Written to ``PRAGMA user_version``; raised by one with each change of the tables.
FORMAT = 1

#: ``PRAGMA application_id``: "lamn", so that file(1) and a careless user can tell.
APPLICATION_ID = 0x6C616D6E

TABLES = """
CREATE TABLE store (
    singleton   INTEGER PRIMARY KEY CHECK (singleton = 1),
    driver      TEXT NOT NULL,
    options     TEXT NOT NULL,                     -- JSON of the driver's options as given at creation
    durability  TEXT NOT NULL,
    boot        TEXT NOT NULL,                     -- boot id of the last opening: a new one asks for a full reconciliation
    created     INTEGER NOT NULL                   -- ns since the epoch, like all times here
) STRICT;

CREATE TABLE snapshots (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused; the driver's name for it
    key         TEXT UNIQUE,                       -- NULL once it is being removed: the name is free again at once
    kind        TEXT NOT NULL CHECK (kind IN ('committed', 'active', 'view')),
    state       TEXT NOT NULL CHECK (state IN ('preparing', 'ready', 'removing')),
    parent      INTEGER REFERENCES snapshots (id),
    diff_id     TEXT NOT NULL DEFAULT '',
    prepared    INTEGER NOT NULL DEFAULT 0,        -- lamina.host.clock.Mark of the moment when the tree had been prepared
    boot        TEXT NOT NULL DEFAULT '',
    clock_offset INTEGER NOT NULL DEFAULT 0,
    size        INTEGER,                           -- usage of a committed snapshot, measured once
    inodes      INTEGER,
    created     INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    CHECK (key IS NULL OR length(key) > 0),
    CHECK (state = 'removing' OR key IS NOT NULL)
) STRICT;
CREATE INDEX snapshots_parent ON snapshots (parent);
CREATE INDEX snapshots_unready ON snapshots (state) WHERE state <> 'ready';

CREATE TABLE labels (
    snapshot    INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    value       TEXT NOT NULL,
    PRIMARY KEY (snapshot, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE intents (                             -- the journal: what is under way, or was when its owner died
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    operation   TEXT NOT NULL,
    snapshot    INTEGER,                           -- no foreign key: an intent outlives the row it is about
    detail      TEXT NOT NULL,                     -- JSON object of strings
    pid         INTEGER NOT NULL,
    started     INTEGER NOT NULL,
    boot        TEXT NOT NULL
) STRICT;

CREATE TABLE leases (                              -- what an intent has in hand and nobody may collect
    intent      INTEGER NOT NULL REFERENCES intents (id) ON DELETE CASCADE,
    kind        TEXT NOT NULL CHECK (kind IN ('snapshot', 'blob')),
    item        TEXT NOT NULL,
    PRIMARY KEY (intent, kind, item)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_item ON leases (kind, item);

CREATE TABLE mounts (                              -- a hint; the mount table of the kernel is the truth
    target      TEXT PRIMARY KEY,
    snapshot    INTEGER NOT NULL REFERENCES snapshots (id) ON DELETE CASCADE,
    boot        TEXT NOT NULL,
    created     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX mounts_snapshot ON mounts (snapshot);

-- images ---------------------------------------------------------------------------------------------------------------

CREATE TABLE blobs (
    digest      TEXT PRIMARY KEY CHECK (digest GLOB 'sha256:*' AND length(digest) = 71),
    size        INTEGER NOT NULL CHECK (size >= 0),
    created     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE images (
    digest      TEXT PRIMARY KEY REFERENCES blobs (digest),   -- of the manifest
    media_type  TEXT NOT NULL,
    config      TEXT NOT NULL REFERENCES blobs (digest),
    layer       INTEGER REFERENCES snapshots (id),            -- top of the chain; NULL for an image without layers
    created     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX images_layer ON images (layer);

CREATE TABLE image_blobs (                         -- everything the manifest names, itself apart, in its order
    image       TEXT NOT NULL REFERENCES images (digest) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    blob        TEXT NOT NULL REFERENCES blobs (digest),
    PRIMARY KEY (image, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_blobs_blob ON image_blobs (blob);

CREATE TABLE tags (
    name        TEXT PRIMARY KEY,
    image       TEXT NOT NULL REFERENCES images (digest),
    updated     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_image ON tags (image);

CREATE TABLE containers (
    id          TEXT PRIMARY KEY CHECK (length(id) = 32),
    name        TEXT NOT NULL UNIQUE,
    image       TEXT NOT NULL REFERENCES images (digest),
    image_name  TEXT NOT NULL,                     -- as the user wrote it
    snapshot    INTEGER NOT NULL REFERENCES snapshots (id),
    created     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX containers_image ON containers (image);
CREATE INDEX containers_snapshot ON containers (snapshot);
"""
