-- When CREATE EXTENSION commits, the launcher starts a scheduler here.
DO $$ BEGIN PERFORM courier_internal.announce(); END $$;
