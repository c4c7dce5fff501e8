"""The pages of the admin as JSON, and their actions for programs that have a token."""
