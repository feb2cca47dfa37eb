"""Why a jailed program dies: facts, gathered once by the use case, and rules, pure functions from facts to findings."""
