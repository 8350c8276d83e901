assert __name__ == "mulligan.handlers", "import it as mulligan.handlers"
