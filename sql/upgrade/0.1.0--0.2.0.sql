-- What CREATE OR REPLACE does not do (see "Making a release" in doc/operations.md). Functions, views, comments and grants follow by themselves.

ALTER TABLE courier_internal.run ADD COLUMN waiting_for text;
