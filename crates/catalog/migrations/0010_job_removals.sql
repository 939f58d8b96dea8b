-- Jobs of plans and vaults that were deleted, when they are many: gone for everybody from then on, their rows removed a
-- few hundred at a time.
CREATE TABLE job_removals (
    part_id  BIGINT NOT NULL,
    -- The version of the part with which they went; the change log has it, too.
    version  BIGINT NOT NULL,
    -- Either the plan or the vault whose jobs they are.
    plan_id  TEXT,
    vault_id TEXT,
    -- Their numbers are lower than this: what is imported later is not meant.
    end_seq  BIGINT NOT NULL,
    -- All rows with lower numbers than this have been looked at; when that is all of them, nothing is left to be done.
    next_seq BIGINT NOT NULL,
    PRIMARY KEY (part_id, version)
);
