"""Pure rules that decide where a call may go and what going there costs."""
