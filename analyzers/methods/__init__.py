"""Classical methods as pure functions, where an analyzer's own file would become too long to read in one sitting."""
