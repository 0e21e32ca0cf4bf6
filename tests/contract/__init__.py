"""The closing contract, row by row: each test is named after the id of the row that it proves."""
