assert __name__ == "mulligan.projections", "import it as mulligan.projections"
