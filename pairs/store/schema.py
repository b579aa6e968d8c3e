"""The tables of a workspace, as numbered migrations. `user_version` is the number of the last one applied.

Nouns are those of the design: a *pair* has *versions*; a *verdict* and a *judgement* (with its *scores*)
belong to a version; a *candidate* is an instruction read from model text on its way to being a pair, or a
named loss; a *call* is one request to a backend. Verdicts and scores never share a column.
"""

from __future__ import annotations

APPLICATION_ID = 0x50524D53  # "PRMS"

MIGRATION_1 = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE topic (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    parent_id INTEGER REFERENCES topic (id) ON DELETE RESTRICT,
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 500 AND instr(name, char(0)) = 0),
    position INTEGER NOT NULL,
    quota INTEGER CHECK (quota >= 0),
    maker TEXT NOT NULL CHECK (maker IN ('human', 'model', 'import')),
    call_id INTEGER REFERENCES call (id) ON DELETE RESTRICT,
    pruned INTEGER NOT NULL DEFAULT 0 CHECK (pruned IN (0, 1))
) STRICT;
CREATE INDEX topic_parent ON topic (parent_id, position);

CREATE TABLE seed_task (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL DEFAULT '',
    instruction TEXT NOT NULL CHECK (length(instruction) BETWEEN 1 AND 1000000),
    instances TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(instances)),
    is_classification INTEGER NOT NULL DEFAULT 0 CHECK (is_classification IN (0, 1)),
    source TEXT NOT NULL,
    instruction_key BLOB NOT NULL UNIQUE,
    removed INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1))
) STRICT;

CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('generate', 'judge', 'train', 'evaluate')),
    state TEXT NOT NULL CHECK (state IN ('running', 'paused', 'unfinished', 'done', 'failed')),
    settings TEXT NOT NULL CHECK (json_valid(settings)),
    settings_key TEXT NOT NULL,
    asked INTEGER CHECK (asked > 0),
    started_at TEXT NOT NULL,
    ended_at TEXT,
    reason TEXT NOT NULL DEFAULT '',
    result TEXT CHECK (result IS NULL OR json_valid(result))
) STRICT;
CREATE INDEX run_settings ON run (kind, settings_key, state);

-- What one generate run wants of each topic. `exhausted` topics get no more list calls in this run.
CREATE TABLE run_topic (
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE RESTRICT,
    topic_id INTEGER NOT NULL REFERENCES topic (id) ON DELETE RESTRICT,
    planned INTEGER NOT NULL CHECK (planned >= 0),
    quota INTEGER NOT NULL CHECK (quota >= 0),
    exhausted INTEGER NOT NULL DEFAULT 0 CHECK (exhausted IN (0, 1)),
    barren INTEGER NOT NULL DEFAULT 0 CHECK (barren >= 0),
    PRIMARY KEY (run_id, topic_id)
) STRICT, WITHOUT ROWID;

-- One request to a backend. 'in flight' rows of a dead process are booked as failed ('interrupted') at
-- the next start.
CREATE TABLE call (
    id INTEGER PRIMARY KEY,
    run_id INTEGER REFERENCES run (id) ON DELETE RESTRICT,
    purpose TEXT NOT NULL,
    subject TEXT NOT NULL DEFAULT '',
    backend TEXT NOT NULL,
    model TEXT NOT NULL,
    request TEXT NOT NULL CHECK (json_valid(request)),
    state TEXT NOT NULL CHECK (state IN ('in flight', 'useful', 'failed')),
    reason TEXT,
    detail TEXT,
    http_status INTEGER,
    sent_at TEXT NOT NULL,
    latency_ms INTEGER,
    tokens_in INTEGER NOT NULL DEFAULT 0,
    tokens_out INTEGER NOT NULL DEFAULT 0,
    cost_micros INTEGER NOT NULL DEFAULT 0,
    answer TEXT,
    details TEXT CHECK (details IS NULL OR json_valid(details)),
    CHECK ((state = 'failed') = (reason IS NOT NULL))
) STRICT;
CREATE INDEX call_run ON call (run_id, state, reason);
CREATE INDEX call_subject ON call (purpose, subject, state);
CREATE INDEX call_open ON call (state) WHERE state = 'in flight';

-- An instruction read from model text. Ledger: candidates = kept + lost (by reason) + everything else
-- (in progress).
CREATE TABLE candidate (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE RESTRICT,
    topic_id INTEGER REFERENCES topic (id) ON DELETE RESTRICT,
    call_id INTEGER NOT NULL REFERENCES call (id) ON DELETE RESTRICT,
    position INTEGER NOT NULL,
    instruction TEXT NOT NULL,
    input TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL CHECK (state IN ('waiting', 'answered', 'kept', 'lost')),
    loss TEXT,
    detail TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    pair_id INTEGER REFERENCES pair (id) ON DELETE RESTRICT,
    extra TEXT CHECK (extra IS NULL OR json_valid(extra)),
    CHECK ((state = 'lost') = (loss IS NOT NULL)),
    CHECK (state NOT IN ('answered', 'kept') OR pair_id IS NOT NULL)
) STRICT;
CREATE INDEX candidate_run ON candidate (run_id, state, topic_id);
CREATE INDEX candidate_pair ON candidate (pair_id);

CREATE TABLE import_batch (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    format TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    report TEXT NOT NULL CHECK (json_valid(report)),
    at TEXT NOT NULL
) STRICT;

-- Counted and shown pairs have removed = 0. An undone import or generation stays stored with removed = 1.
-- instruction_key and text_key are those of the chosen version (pairs/normalise.py).
CREATE TABLE pair (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    origin TEXT NOT NULL CHECK (origin IN ('generated', 'imported', 'human')),
    run_id INTEGER REFERENCES run (id) ON DELETE RESTRICT,
    topic_id INTEGER REFERENCES topic (id) ON DELETE RESTRICT,
    import_id INTEGER REFERENCES import_batch (id) ON DELETE RESTRICT,
    import_line INTEGER,
    version_id INTEGER NOT NULL REFERENCES version (id) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED,
    instruction_key BLOB NOT NULL,
    text_key BLOB NOT NULL,
    verdict TEXT NOT NULL DEFAULT 'undecided' CHECK (verdict IN ('undecided', 'accepted', 'rejected')),
    verdict_by TEXT CHECK (verdict_by IN ('human', 'rule')),
    versions INTEGER NOT NULL DEFAULT 1 CHECK (versions > 0),
    created_at TEXT NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1)),
    extra TEXT CHECK (extra IS NULL OR json_valid(extra)),
    CHECK ((verdict = 'undecided') = (verdict_by IS NULL))
) STRICT;
CREATE UNIQUE INDEX pair_generated_once ON pair (instruction_key) WHERE origin = 'generated' AND removed = 0;
CREATE UNIQUE INDEX pair_text_once ON pair (text_key) WHERE removed = 0;
CREATE INDEX pair_instruction ON pair (instruction_key);
CREATE INDEX pair_verdict ON pair (removed, verdict, id);
CREATE INDEX pair_topic ON pair (topic_id, removed, verdict, id);
CREATE INDEX pair_run ON pair (run_id, id);
CREATE INDEX pair_version ON pair (version_id);
CREATE INDEX pair_import ON pair (import_id, id) WHERE import_id IS NOT NULL;
CREATE INDEX pair_edited ON pair (id) WHERE versions > 1;

-- `spaced`: the text once more where it is in a script without spaces, those characters one a word (search.py).
-- Texts never change: an edit is a new version. sha256 is over instruction, input and output (pair_rows.py).
CREATE TABLE version (
    id INTEGER PRIMARY KEY,
    pair_id INTEGER NOT NULL REFERENCES pair (id) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED,
    number INTEGER NOT NULL CHECK (number > 0),
    maker TEXT NOT NULL CHECK (maker IN ('model', 'human', 'import')),
    instruction TEXT NOT NULL
        CHECK (length(instruction) BETWEEN 1 AND 4000000 AND instr(instruction, char(0)) = 0),
    input TEXT NOT NULL DEFAULT '' CHECK (length(input) <= 4000000 AND instr(input, char(0)) = 0),
    output TEXT NOT NULL CHECK (length(output) <= 4000000 AND instr(output, char(0)) = 0),
    spaced TEXT NOT NULL DEFAULT '',
    call_id INTEGER REFERENCES call (id) ON DELETE RESTRICT,
    created_at TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1)),
    UNIQUE (pair_id, number)
) STRICT;
CREATE INDEX version_call ON version (call_id);

-- No row: undecided. pair.verdict mirrors the chosen version's row (kept by triggers).
CREATE TABLE verdict (
    version_id INTEGER PRIMARY KEY REFERENCES version (id) ON DELETE RESTRICT,
    verdict TEXT NOT NULL CHECK (verdict IN ('accepted', 'rejected')),
    by TEXT NOT NULL CHECK (by IN ('human', 'rule')),
    rule TEXT,
    reason TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    note TEXT NOT NULL DEFAULT '',
    at TEXT NOT NULL,
    CHECK ((by = 'rule') = (rule IS NOT NULL))
) STRICT;
CREATE INDEX verdict_tagged ON verdict (version_id) WHERE tags <> '[]';

-- A judge's answer about one version, or the reason why there is none. The newest per (version, judge)
-- counts.
CREATE TABLE judgement (
    id INTEGER PRIMARY KEY,
    version_id INTEGER NOT NULL REFERENCES version (id) ON DELETE RESTRICT,
    run_id INTEGER REFERENCES run (id) ON DELETE RESTRICT,
    judge TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('reward', 'expected', 'json', 'reference', 'import')),
    rubric TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL CHECK (state IN ('scored', 'failed')),
    reason TEXT,
    rationale TEXT,
    at TEXT NOT NULL,
    CHECK ((state = 'failed') = (reason IS NOT NULL))
) STRICT;
CREATE INDEX judgement_version ON judgement (version_id, judge, id);

CREATE TABLE judgement_call (
    judgement_id INTEGER NOT NULL REFERENCES judgement (id) ON DELETE CASCADE,
    call_id INTEGER NOT NULL REFERENCES call (id) ON DELETE RESTRICT,
    PRIMARY KEY (judgement_id, call_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE score (
    judgement_id INTEGER NOT NULL REFERENCES judgement (id) ON DELETE CASCADE,
    attribute TEXT NOT NULL,
    value REAL NOT NULL CHECK (value BETWEEN -1e300 AND 1e300),
    mass REAL,
    probabilities TEXT CHECK (probabilities IS NULL OR json_valid(probabilities)),
    PRIMARY KEY (judgement_id, attribute)
) STRICT, WITHOUT ROWID;

-- What a model answered to a pair of the test side, in an evaluation. `subject`: tuned, base, or whose answer else.
CREATE TABLE test_answer (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE RESTRICT,
    subject TEXT NOT NULL CHECK (length(subject) > 0),
    pair_id INTEGER NOT NULL REFERENCES pair (id) ON DELETE RESTRICT,
    text TEXT NOT NULL CHECK (length(text) <= 4000000 AND instr(text, char(0)) = 0),
    measures TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(measures)),
    call_id INTEGER REFERENCES call (id) ON DELETE RESTRICT,
    at TEXT NOT NULL,
    UNIQUE (run_id, subject, pair_id)
) STRICT;

-- A judge's word on such an answer: 0 to 100 against the reference, or (`against` set) which of two is better
-- (1 the subject, 0.5 neither, 0 the other one). `question` is the hash of what was asked: a run pays for it once.
CREATE TABLE test_judgement (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE RESTRICT,
    subject TEXT NOT NULL CHECK (length(subject) > 0),
    against TEXT NOT NULL DEFAULT '',
    pair_id INTEGER NOT NULL REFERENCES pair (id) ON DELETE RESTRICT,
    judge TEXT NOT NULL,
    kind TEXT NOT NULL,
    question BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('scored', 'failed')),
    value REAL CHECK (value BETWEEN 0 AND 100),
    reason TEXT,
    explanation TEXT,
    unreadable INTEGER NOT NULL DEFAULT 0 CHECK (unreadable >= 0),
    at TEXT NOT NULL,
    UNIQUE (run_id, subject, against, pair_id, judge, kind),
    CHECK ((state = 'failed') = (reason IS NOT NULL)),
    CHECK ((state = 'scored') = (value IS NOT NULL))
) STRICT;
CREATE INDEX test_judgement_question ON test_judgement (question, run_id);

-- Append-only: what was done, with the rows' images before and after in journal_change. Only `state`
-- ever changes.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    actor TEXT NOT NULL CHECK (actor IN ('human', 'rule')),
    session TEXT NOT NULL,
    focus_pair_id INTEGER,
    state TEXT NOT NULL DEFAULT 'done' CHECK (state IN ('done', 'undone', 'dropped'))
) STRICT;
CREATE INDEX journal_state ON journal (state, id);

CREATE TABLE journal_change (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    journal_id INTEGER NOT NULL REFERENCES journal (id) ON DELETE RESTRICT,
    row_table TEXT NOT NULL,
    row_id INTEGER NOT NULL,
    before TEXT,
    after TEXT
) STRICT;
CREATE INDEX journal_change_entry ON journal_change (journal_id, id);

CREATE TABLE journal_move (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    journal_id INTEGER NOT NULL REFERENCES journal (id) ON DELETE RESTRICT,
    direction TEXT NOT NULL CHECK (direction IN ('undo', 'redo')),
    at TEXT NOT NULL
) STRICT;

-- Which side of a pair's split it is on. A row never changes.
CREATE TABLE split (
    pair_id INTEGER PRIMARY KEY REFERENCES pair (id) ON DELETE RESTRICT,
    side TEXT NOT NULL CHECK (side IN ('train', 'test', 'validation'))
) STRICT;

-- What a job told the user while nobody may have been looking: topics that ran dry, waits, switches of
-- backend.
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE RESTRICT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX event_run ON event (run_id, id);

-- Full-text search over the chosen versions; rowid is the pair's id, so that newest first needs no sorting.
CREATE VIEW pair_text (id, instruction, input, output, spaced) AS
SELECT pair.id, version.instruction, version.input, version.output, version.spaced
FROM pair JOIN version ON version.id = pair.version_id;

CREATE VIRTUAL TABLE pair_fts USING fts5 (
    instruction, input, output, spaced,
    content = 'pair_text', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);

-- A large import writes its words in pieces of this many bytes: fewer, larger pieces are merged less often.
INSERT INTO pair_fts (pair_fts, rank) VALUES ('hashsize', 16777216);

-- A pair and its first version are inserted in either order: whichever comes second finds the other.
CREATE TRIGGER pair_insert_search AFTER INSERT ON pair BEGIN
    INSERT INTO pair_fts (rowid, instruction, input, output, spaced)
    SELECT new.id, instruction, input, output, spaced FROM version WHERE id = new.version_id;
END;
CREATE TRIGGER version_insert_search AFTER INSERT ON version BEGIN
    INSERT INTO pair_fts (rowid, instruction, input, output, spaced)
    SELECT id, new.instruction, new.input, new.output, new.spaced
    FROM pair WHERE id = new.pair_id AND version_id = new.id;
END;
CREATE TRIGGER pair_version_search AFTER UPDATE OF version_id ON pair
WHEN old.version_id <> new.version_id BEGIN
    INSERT INTO pair_fts (pair_fts, rowid, instruction, input, output, spaced)
    SELECT 'delete', old.id, instruction, input, output, spaced FROM version WHERE id = old.version_id;
    INSERT INTO pair_fts (rowid, instruction, input, output, spaced)
    SELECT new.id, instruction, input, output, spaced FROM version WHERE id = new.version_id;
END;
CREATE TRIGGER version_text_search AFTER UPDATE OF instruction, input, output, spaced ON version BEGIN
    INSERT INTO pair_fts (pair_fts, rowid, instruction, input, output, spaced)
    SELECT 'delete', id, old.instruction, old.input, old.output, old.spaced
    FROM pair WHERE id = old.pair_id AND version_id = old.id;
    INSERT INTO pair_fts (rowid, instruction, input, output, spaced)
    SELECT id, new.instruction, new.input, new.output, new.spaced
    FROM pair WHERE id = new.pair_id AND version_id = new.id;
END;

-- pair.versions counts versions that are not removed.
CREATE TRIGGER version_insert_count AFTER INSERT ON version WHEN new.number > 1 AND new.removed = 0 BEGIN
    UPDATE pair SET versions = versions + 1 WHERE id = new.pair_id;
END;
CREATE TRIGGER version_removed_count AFTER UPDATE OF removed ON version WHEN old.removed <> new.removed BEGIN
    UPDATE pair SET versions = versions + old.removed - new.removed WHERE id = new.pair_id;
END;

-- pair.verdict and pair.verdict_by are those of the chosen version.
CREATE TRIGGER verdict_insert_mirror AFTER INSERT ON verdict BEGIN
    UPDATE pair SET verdict = new.verdict, verdict_by = new.by WHERE version_id = new.version_id;
END;
CREATE TRIGGER verdict_update_mirror AFTER UPDATE OF verdict, by ON verdict BEGIN
    UPDATE pair SET verdict = new.verdict, verdict_by = new.by WHERE version_id = new.version_id;
END;
CREATE TRIGGER verdict_delete_mirror AFTER DELETE ON verdict BEGIN
    UPDATE pair SET verdict = 'undecided', verdict_by = NULL WHERE version_id = old.version_id;
END;
CREATE TRIGGER pair_version_mirror AFTER UPDATE OF version_id ON pair
WHEN old.version_id <> new.version_id BEGIN
    UPDATE pair SET
        verdict = coalesce((SELECT verdict FROM verdict WHERE version_id = new.version_id), 'undecided'),
        verdict_by = (SELECT by FROM verdict WHERE version_id = new.version_id)
    WHERE id = new.id;
END;
"""

MIGRATION_2 = """
-- A person's word on answers to a test pair, given without knowing whose they are. `answer` and `other` are hashes of
-- the texts that were seen (`other` is empty where one answer stood alone): a rating counts wherever the same texts are
-- rated, so that another evaluation of the same models loses none. `subject` and `against` say whose they were, `first`
-- whether `answer` stood first. `value`: NULL is skipped; of 'compare' 1 is `answer`, 0 is `other`, 0.5 neither;
-- of 'scale' 1 to 5.
CREATE TABLE rating (
    id INTEGER PRIMARY KEY,
    rater TEXT NOT NULL CHECK (length(rater) BETWEEN 1 AND 100),
    kind TEXT NOT NULL CHECK (kind IN ('compare', 'scale')),
    run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE RESTRICT,
    pair_id INTEGER NOT NULL REFERENCES pair (id) ON DELETE RESTRICT,
    answer BLOB NOT NULL,
    other BLOB NOT NULL DEFAULT x'',
    subject TEXT NOT NULL CHECK (length(subject) > 0),
    against TEXT NOT NULL DEFAULT '',
    first INTEGER NOT NULL DEFAULT 1 CHECK (first IN (0, 1)),
    value REAL,
    at TEXT NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1)),
    CHECK (kind <> 'compare' OR answer < other AND (value IS NULL OR value IN (0.0, 0.5, 1.0))),
    CHECK (kind <> 'scale' OR length(other) = 0 AND (value IS NULL OR value IN (1.0, 2.0, 3.0, 4.0, 5.0)))
) STRICT;
CREATE UNIQUE INDEX rating_once ON rating (pair_id, kind, rater, answer, other) WHERE removed = 0;
"""

MIGRATIONS = (MIGRATION_1, MIGRATION_2)
SCHEMA_VERSION = len(MIGRATIONS)
