"""The journal, and the execution of a plan. Only this package changes resources."""
